import pytest
import torch
from torch.nn import functional as F

from maskforge.models.mask2former.decoder import MaskedAttentionDecoder, MaskedAttentionLayer


def some_memory() -> tuple[torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(1)
    return torch.randn(2, 8, 24, 32), [torch.randn(2, 32, 3 * 2**k, 4 * 2**k) for k in range(3)]


def decoder(**options) -> MaskedAttentionDecoder:
    torch.manual_seed(0)
    return MaskedAttentionDecoder(32, **{**dict(num_classes=4, num_queries=5, num_layers=4, mask_dim=8, num_heads=4,
                                                feedforward_channels=16), **options}).eval()


@pytest.mark.parametrize('pre_norm', [False, True])
def test_layer_order(pre_norm):
    """Cross-attention, self-attention, feed-forward; norms after the sums, or before the parts."""
    torch.manual_seed(0)
    layer = MaskedAttentionLayer(16, num_heads=4, feedforward_channels=24, pre_norm=pre_norm).eval()
    x, position, key, value = torch.randn(2, 5, 16), torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    blocked = torch.rand(2, 5, 7) < 0.3
    parts = [lambda x: layer.cross_attn(x + position, key, value, blocked=blocked),
             lambda x: layer.self_attn(x + position, x + position, x),
             lambda x: layer.linear2(layer.linear1(x).relu())]
    expected = x
    for part, norm in zip(parts, (layer.norm_cross, layer.norm_self, layer.norm_ffn)):
        expected = expected + part(norm(expected)) if pre_norm else norm(expected + part(expected))
    assert torch.allclose(layer(x, position, key, value, blocked), expected, atol=1e-6)


def test_shapes_and_the_last_layer_alone():
    features, memory = some_memory()
    net = decoder()
    found, last = net(features, memory, all_layers=True), net(features, memory, all_layers=False)
    assert found.class_logits.shape == (5, 2, 5, 5) and found.mask_embeddings.shape == (5, 2, 5, 8)
    assert found.mask_logits().shape == (2, 5, 24, 32)
    assert torch.equal(last.class_logits[0], found.class_logits[-1])
    assert torch.allclose(last.mask_logits(), found.mask_logits(4), atol=1e-5)


def test_queries_see_only_their_masks():
    """The mask of the attention is the resized prediction: the memory beyond it does not reach the query."""
    features, memory = some_memory()
    net = decoder(num_layers=1)
    x = net.query_feat.weight[None].expand(2, -1, -1)
    logits = (net.mask_embed(net.norm(x)) @ features.flatten(2)).view(2, 5, 24, 32)
    outside = F.interpolate(logits, (3, 4), mode='bilinear').flatten(2) < 0
    blocked = net._blocked(net.norm(x), F.interpolate(features, (3, 4), mode='bilinear').flatten(2))
    partly = outside.any(-1) & ~outside.all(-1)
    assert partly.any() and torch.equal(blocked[partly], outside[partly])
    image, query = partly.nonzero()[0].tolist()
    changed = memory[0].clone()
    changed[image].flatten(1)[:, outside[image, query]] += 5
    keys, values = zip(*(net._memory([level, *memory[1:]]) for level in (memory[0], changed)))
    for mask, same in ((blocked, True), (None, False)):
        before, after = (net.layers[0].cross_attn(x, key[0], value[0], blocked=mask)[image, query]
                         for key, value in zip(keys, values))
        assert torch.allclose(before, after, atol=1e-5) == same


def test_a_query_without_a_mask_looks_everywhere():
    net = decoder()
    state = torch.randn(1, 5, 32)
    features = -net.mask_embed(state)[0].mean(0)[None, :, None].expand(1, 8, 12)
    blocked = net._blocked(state, features)
    assert not blocked.all(-1).any()
    negative = (net.mask_embed(state) @ features < 0).all(-1)
    assert negative.any() and not blocked[negative].any()


def test_activation_checkpoint_gives_the_same_gradients():
    features, memory = some_memory()
    found = []
    for recompute in (False, True):
        net = decoder(activation_checkpoint=recompute).train()
        net(features, memory, all_layers=True).class_logits.sum().backward()
        found.append([p.grad for p in net.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) and all(torch.equal(a, b) for a, b in zip(*found))


def test_fresh_parameters():
    net = MaskedAttentionDecoder(256, num_classes=10)
    assert abs(net.query_feat.weight.std() - 1) < 0.05 and abs(net.query_embed.weight.std() - 1) < 0.05
    bound = (6 / (256 + 2048))**0.5
    assert 0.95 * bound < net.layers[0].linear1.weight.abs().max() <= bound
