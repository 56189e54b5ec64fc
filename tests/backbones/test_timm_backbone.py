"""The timm adapter: levels, layouts, freezing, names."""
import pytest
import torch

from maskforge.backbones import TimmBackbone


@pytest.mark.parametrize('name, kwargs, channels, strides', [
    ('resnet18', dict(out_indices=(1, 2, 3, 4)), (64, 128, 256, 512), (4, 8, 16, 32)),
    ('swin_tiny_patch4_window7_224', dict(embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2)),
     (24, 48, 96, 192), (4, 8, 16, 32)),
    ('convnext_atto', dict(out_indices=(2, 3)), (160, 320), (16, 32)),
    ('vit_tiny_patch16_224', dict(out_indices=(-1,), depth=2), (192,), (16,)),
])
def test_levels_are_channels_first_with_the_announced_sizes(name, kwargs, channels, strides):
    model = TimmBackbone(name, **kwargs).eval()
    assert (model.out_channels, model.strides) == (channels, strides)
    with torch.no_grad():
        levels = model(torch.rand(1, 3, 128, 192))
    assert [tuple(level.shape) for level in levels] == [(1, c, 128 // s, 192 // s) for c, s in zip(channels, strides)]


@pytest.mark.parametrize('name, kwargs', [
    ('swin_tiny_patch4_window7_224', dict(embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2))),
    ('resnet18', dict(out_indices=(1, 2, 3, 4))), ('pvt_v2_b0', {})])
@pytest.mark.parametrize('size', [(75, 101), (130, 250)])
def test_sizes_of_no_stride(name, kwargs, size):
    """As batches of several scales have them; levels are rounded up, and the image lies at their upper left."""
    model = TimmBackbone(name, **kwargs).eval()
    with torch.no_grad():
        levels = model(torch.rand(1, 3, *size))
    assert [tuple(level.shape[-2:]) for level in levels] == [
        (-(-size[0] // stride), -(-size[1] // stride)) for stride in model.strides]


def test_padding_to_patches_is_padding_of_the_image():
    model = TimmBackbone('swin_tiny_patch4_window7_224', embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2))
    images = torch.rand(1, 3, 61, 62)
    padded = torch.nn.functional.pad(images, (0, 2, 0, 3))
    with torch.no_grad():
        assert all(torch.equal(one, other) for one, other in zip(model.eval()(images), model(padded)))


def test_a_model_of_one_size_says_so():
    with pytest.raises(ValueError, match=r"made for images of \(224, 224\) and failed at \(64, 96\).*type='GCViT'"):
        TimmBackbone('gcvit_xxtiny')(torch.rand(1, 3, 64, 96))


def test_plain_transformer_with_several_levels_is_an_error():
    with pytest.raises(ValueError, match='plain transformer: all its levels have stride 16'):
        TimmBackbone('vit_tiny_patch16_224')


def test_unknown_name_lists_near_ones():
    with pytest.raises(ValueError, match=r"no model 'resnet5o'; near names: .*resnet50"):
        TimmBackbone('resnet5o')


def test_levels_that_do_not_exist():
    with pytest.raises(ValueError, match='out_indices'):
        TimmBackbone('resnet18', out_indices=(2, 9))


def test_frozen_whole_and_by_prefix():
    whole = TimmBackbone('resnet18', frozen=True).train()
    assert not any(p.requires_grad for p in whole.parameters())
    assert not any(m.training for m in whole.timm_model.modules())
    part = TimmBackbone('resnet18', frozen_prefixes=('conv1', 'bn1', 'layer1'), norm_eval=True).train()
    assert not part.timm_model.layer1[0].conv1.weight.requires_grad
    assert part.timm_model.layer2[0].conv1.weight.requires_grad
    assert not part.timm_model.layer2[0].bn1.training
    with pytest.raises(ValueError, match="frozen_prefixes entry 'stem'; the top-level parts are bn1, conv1"):
        TimmBackbone('resnet18', frozen_prefixes=('stem',))


def test_two_sources_of_weights_are_an_error():
    with pytest.raises(ValueError, match='pretrained and checkpoint both name the weights'):
        TimmBackbone('resnet18', pretrained=True, checkpoint='x.pth')


@pytest.mark.parametrize('name', ['resnet18', 'convnext_atto'])
def test_plain_timm_checkpoint_fits_the_feature_extractor(name, tmp_path):
    import timm
    torch.manual_seed(0)
    plain = timm.create_model(name).eval()
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    model = TimmBackbone(name, checkpoint=str(tmp_path / 'plain.pth'), out_indices=(-1,)).eval()
    model.init_weights()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(model(images)[0], plain.forward_features(images), atol=1e-5) or name == 'convnext_atto'
    first = next(iter(model.timm_model.state_dict().values()))
    assert torch.equal(first, next(iter(plain.state_dict().values())))
