"""All architectures: full size without memory, and trained and asked with two blocks."""
import pytest
import torch

from maskforge.models.mal.architectures import ARCHITECTURES
from maskforge.registry import MODELS

# millions of parameters, by the literature: the student in the reference mode
STUDENTS = {'vit-deit-tiny/16': 8.0, 'vit-deit-small/16': 25.2, 'vit-mae-base/16': 93.1, 'vit-mae-large/16': 314.2}
# the backbone with the classifier of 1000 classes that we leave out
CLASSIFIERS = {'fan_tiny_12_p16_224': 7.3, 'fan_base_18_p16_224': 54.4, 'fan_large_24_p16_224': 80.6,
               'fan_tiny_8_p4_hybrid': 7.5, 'fan_base_16_p4_hybrid': 50.5, 'fan_large_16_p4_hybrid': 76.9}
WIDTHS = {'fan_tiny_12_p16_224': 192, 'fan_small_12_p16_224': 384, 'fan_base_18_p16_224': 448,
          'fan_large_24_p16_224': 480, 'fan_tiny_8_p4_hybrid': 192, 'fan_small_12_p4_hybrid': 384,
          'fan_base_16_p4_hybrid': 448, 'fan_large_16_p4_hybrid': 480, 'vit-deit-tiny/16': 192,
          'vit-deit-small/16': 384, 'vit-deit-base/16': 768, 'vit-mae-base/16': 768, 'vit-mae-large/16': 1024,
          'vit-mae-huge/14': 1280}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(arch, compat):
    with torch.device('meta'):
        return MODELS.build(dict(type='MAL', arch=arch, compat=compat))


@pytest.mark.parametrize('arch', list(ARCHITECTURES))
def test_full_size(arch):
    model = on_meta(arch, 'reference')
    backbone = model.student.backbone
    if arch in STUDENTS:
        assert round(count(model.student) / 1e6, 1) == STUDENTS[arch]
    if arch in CLASSIFIERS:
        with_classifier = count(backbone) + 1000 * (WIDTHS[arch] + 1)
        assert with_classifier / 1e6 == pytest.approx(CLASSIFIERS[arch], abs=0.06)
    assert backbone.out_channels == (WIDTHS[arch],) and model.student.roi_head.mlp1.in_features == WIDTHS[arch]
    with torch.device('meta'):
        images = torch.empty(2, 3, 512, 512)
    assert backbone(images)[0].shape == (2, WIDTHS[arch], 32, 32)
    assert model.teacher(images).shape == (2, 128, 128)


def test_base_in_detail():
    student = on_meta('vit-mae-base/16', 'reference').student
    assert count(student.backbone.patch_embed) == 4_079_712 and count(student.backbone) == 89_287_776
    assert count(student.roi_head) == 262_656 and count(student.mask_head) == 3_539_968
    assert len(student.state_dict()) == 174


@pytest.mark.parametrize('arch', list(ARCHITECTURES))
@pytest.mark.parametrize('compat', ['default', 'reference'])
def test_one_training_and_one_labelling_step(tiny, sample, crops, arch, compat):
    thin = dict(embed_dim=32, depth=2, num_heads=4)
    if arch.endswith('hybrid'):
        thin['hybrid_depths'] = (1, 1)
    model = tiny(arch=arch, compat=compat, backbone=thin)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    side = 56 if model.student.backbone.strides[0] == 14 else 64
    images = crops(2)[..., :side, :side]
    before = model.student.mask_head.convs[0].conv.weight.clone()
    losses = model(dict(student=images, teacher=images), [sample(500.0), sample(20000.0)], mode='loss')
    sum(losses.values()).backward()
    optimizer.step()
    model.update_teacher()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    for network in (model.student, model.teacher):
        assert not torch.equal(network.mask_head.convs[0].conv.weight, before)
    found = model.eval()(images, [sample(500.0), sample(20000.0)], mode='predict')
    assert [len(one.pred_instances) for one in found] == [1, 1]
