import math

import pytest
import torch

from maskforge.models.deformable_detr import SetPredictions

LEVELS = [[0, 1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3], [1, 2], [1], [3]]
VARIANTS = [{}, dict(with_box_refine=True), dict(with_box_refine=True, two_stage=True)]


def total(losses):
    return sum(value for name, value in losses.items() if name.startswith('loss'))


@pytest.mark.parametrize('variant', VARIANTS)
def test_every_parameter_learns(make_random, images, samples, variant):
    model = make_random(**variant).train()
    total(model(images, samples, mode='loss')).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize('indices', LEVELS)
def test_levels(make_random, images, samples, indices):
    model = make_random(num_feature_levels=len(indices), return_interm_indices=indices).eval()
    strides = [2 ** (index + 2) for index in indices if index < 4]
    assert model.backbone.strides == tuple(strides)
    with torch.no_grad():
        found = model(images, samples)
        assert found.logits.shape == (2, 2, 10, 3) and found.boxes_cxcywh.shape == (2, 2, 10, 4)
        # nothing padded: the mask is left out, and that changes nothing
        full = model.run(images, torch.zeros(2, 96, 128, dtype=torch.bool), all_layers=True)
        assert torch.equal(model(images).logits, full.logits)
        assert torch.equal(model(images).boxes_cxcywh, full.boxes_cxcywh)
        # images do not see one another
        alone = model(images[:1], samples[:1])
        assert torch.allclose(alone.logits, found.logits[:, :1], atol=1e-4)
    tokens = sum(math.ceil(96 / 2 ** (i + 2)) * math.ceil(128 / 2 ** (i + 2)) for i in indices)
    maps = model.backbone(images)
    assert model.levels(maps, torch.zeros(2, 96, 128, dtype=torch.bool), padded=False).features.shape[1] == tokens


def test_modes(make_random, images, samples):
    model = make_random(num_select=4).eval()
    raw = model(images, samples)
    assert isinstance(raw, SetPredictions) and len(raw.logits) == 2
    found = model(images, samples, mode='predict')
    assert found[0] is samples[0] and len(found) == 2
    scores = found[0].pred_instances.scores
    assert len(scores) == 4 and torch.equal(scores, scores.sort(descending=True).values)
    assert torch.equal(scores, raw.logits[-1, 0].sigmoid().flatten().topk(4).values)
    with pytest.raises(ValueError, match="mode='train' is not 'loss', 'predict' or 'tensor'"):
        model(images, samples, mode='train')


def test_conf_threshold_keeps_one_sample_an_image(make_random, images, samples):
    model = make_random(conf_threshold=1.0).eval()
    found = model(images, samples, mode='predict')
    assert [len(sample.pred_instances) for sample in found] == [0, 0]


@pytest.mark.parametrize('variant', VARIANTS)
def test_without_aux_loss_the_last_layer_alone(make_random, images, samples, variant):
    every, last = (make_random(aux_loss=flag, **variant).eval() for flag in (True, False))
    with torch.no_grad():
        found, wanted = last(images, samples), every(images, samples)
    assert len(found.logits) == 1
    assert torch.equal(found.logits[0], wanted.logits[-1])
    assert torch.equal(found.boxes_cxcywh[0], wanted.boxes_cxcywh[-1])
    assert 'loss_ce_0' not in last(images, samples, mode='loss')
    assert 'loss_ce_0' in every(images, samples, mode='loss')


@pytest.mark.parametrize('variant', VARIANTS)
def test_box_heads_run_once_a_layer(make_random, images, samples, variant):
    model = make_random(**variant).eval()
    calls = []
    for head in model.heads.box:
        head.register_forward_hook(lambda *_: calls.append(1))
    model(images, samples)
    assert len(calls) == 2 + ('two_stage' in variant)


def test_mask_value(make_random, images, samples):
    masked, tao = (make_random(mask_value=flag).eval() for flag in (True, False))
    with torch.no_grad():
        assert not torch.allclose(masked(images, samples).logits, tao(images, samples).logits, atol=1e-4)
        assert torch.equal(masked(images).logits, tao(images).logits)


def test_dropout(make_random, images, samples):
    silent, noisy = make_random(dropout_ratio=0.0).train(), make_random(dropout_ratio=0.3).train()
    with torch.no_grad():
        assert torch.equal(silent(images, samples).logits, silent(images, samples).logits)
        assert not torch.equal(noisy(images, samples).logits, noisy(images, samples).logits)


@pytest.mark.parametrize('variant', VARIANTS)
def test_activation_checkpoint_gives_the_same_gradients(make_random, images, samples, variant):
    gradients, kept = [], []
    for flag in (False, True):
        model = make_random(activation_checkpoint=flag, dropout_ratio=0.0, **variant).train()
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t.numel()) or t, lambda t: t):
            loss = total(model(images, samples, mode='loss'))
        loss.backward()
        kept.append(sum(saved))
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.allclose(gradients[0][name], value, atol=1e-6) for name, value in gradients[1].items())
    assert kept[1] < 0.8 * kept[0]


def test_train_backbone(make):
    model = make(train_backbone=False).train()
    assert not any(p.requires_grad for p in model.backbone.parameters()) and not model.backbone.training
    assert all(p.requires_grad for name, p in model.named_parameters() if not name.startswith('backbone.'))
    assert all(p.requires_grad for p in make().backbone.layer2.parameters())


@pytest.mark.parametrize(('name', 'frozen'), [
    ('encoder', 'encoder.'), ('transformer.encoder', 'encoder.'), ('input_proj', 'levels.projections.'),
    ('backbone.layer3', 'backbone.layer3.'), ('class_embed', 'heads.cls.'),
    ('transformer.decoder.layers.1', 'decoder.layers.1.'), ('query_embed', 'query_embed.')])
def test_freeze(make, name, frozen):
    model = make(freeze=[name]).train()
    for parameter, tensor in model.named_parameters():
        assert tensor.requires_grad is not parameter.startswith(frozen), parameter
    part = model.get_submodule(frozen.rstrip('.'))
    assert not part.training and model.decoder.layers[0].training


@pytest.mark.parametrize(('options', 'message'), [
    (dict(freeze=['encodr']), r"no part named 'encodr'; did you mean .*encoder"),
    (dict(two_stage=True), r'two_stage=True needs with_box_refine=True'),
    (dict(num_feature_levels=3), r'num_feature_levels=3, but return_interm_indices=\[1, 2, 3, 4\] are 4 levels'),
    (dict(nheads=5), r'32 channels cannot be divided among 5 attention heads')])
def test_settings_that_contradict_each_other(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_an_image_too_small_for_the_proposals(make, images):
    model = make(with_box_refine=True, two_stage=True, num_queries=1000)
    with pytest.raises(ValueError, match=r'the image has \d+ tokens, fewer than num_queries=1000'):
        model(images)


def test_fresh_reference_points_and_queries(make):
    model = make(hidden_dim=64, num_queries=200)
    assert model.query_embed.weight.shape == (200, 128)
    assert abs(model.query_embed.weight.std().item() - 1) < 0.05
    assert not model.reference_points.bias.any()
    assert 0.9 < model.levels.level_embed.std().item() < 1.1


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('variant', VARIANTS)
def test_mixed_precision(make_random, images, samples, dtype, variant):
    model = make_random(**variant).train()
    with torch.autocast('cpu', dtype):
        losses = model(images, samples, mode='loss')
    total(losses).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize('model_name', ['resnet18', 'swin_tiny_patch4_window7_224'])
def test_backbones_of_timm(make, images, samples, model_name):
    options = dict(whole_backbone=dict(type='TimmBackbone', model_name=model_name, frozen=True))
    model = make(**options).eval()
    assert model.backbone.strides == (8, 16, 32)
    assert len(model(images, samples).logits) == 2
