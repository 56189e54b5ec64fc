import pytest
import torch

from maskforge.models.mask2former.model import own_parts


def test_losses_lead_to_gradients_of_every_parameter(make, images, samples):
    model = make(head_norm='LN').train()
    losses = model(images, samples, mode='loss')
    assert len(losses) == 3 * 4 and all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    # the points of the last encoder layer's coarse levels and the backbone's frozen norms have none
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


def test_raw_outputs(make, images):
    found = make().eval()(images)
    assert found.class_logits.shape == (4, 2, 10, 4) and found.mask_logits().shape == (2, 10, 24, 32)


@pytest.mark.parametrize('mode, fields', [
    ('panoptic', ['pred_panoptic']), ('instance', ['pred_instances']), ('semantic', ['pred_sem_seg']),
    (['instance', 'semantic', 'panoptic'], ['pred_panoptic', 'pred_instances', 'pred_sem_seg'])])
def test_modes(make, images, samples, mode, fields):
    samples[0].set_metainfo(dict(ori_shape=(50, 60)))
    found = make(mode=mode, object_mask_threshold=0.).eval()(images, samples, mode='predict')
    for sample, shape in zip(found, [(50, 60), (72, 128)]):
        assert [name for name in ('pred_panoptic', 'pred_instances', 'pred_sem_seg') if name in sample] == fields
        if 'pred_panoptic' in sample:
            assert sample.pred_panoptic.segments.shape == shape
        if 'pred_instances' in sample:
            assert (sample.pred_instances.masks.height, sample.pred_instances.masks.width) == shape
            assert sample.pred_instances.scores.diff().max() <= 0
        if 'pred_sem_seg' in sample:
            assert sample.pred_sem_seg.sem_seg.shape[-2:] == shape


def test_things_are_what_the_data_set_says(make):
    model = make()
    assert model.is_thing == (True, True, True)
    model.dataset_meta = dict(classes=('a', 'b', 'c'), is_thing=(True, False, True))
    assert model.is_thing == (True, False, True)


@pytest.mark.parametrize('settings, message', [
    (dict(mode='boxes'), "mode='boxes': allowed are panoptic, instance, semantic"),
    (dict(mode=[]), r'mode=\[\]: allowed are'),
    (dict(backbone=dict(out_indices=(1, 2, 3))), r'four levels of a backbone, of strides \(4, 8, 16, 32\); ResNet'),
    (dict(freeze=['encoder']), "no part named 'encoder'"),
])
def test_wrong_settings(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_an_unknown_forward_mode(make, images):
    with pytest.raises(ValueError, match="mode='train'"):
        make()(images, mode='train')


@pytest.mark.parametrize('name, expected', [
    ('backbone', ['backbone']), ('model.backbone', ['backbone']), ('sem_seg_head', ['pixel_decoder', 'decoder']),
    ('sem_seg_head.pixel_decoder', ['pixel_decoder']), ('sem_seg_head.predictor.mask_embed', ['decoder.mask_embed']),
    ('sem_seg_head.predictors', ['sem_seg_head.predictors'])])
def test_official_names_of_parts(name, expected):
    assert own_parts(name) == expected


@pytest.mark.parametrize('freeze', [['backbone'], ['sem_seg_head.pixel_decoder', 'decoder.query_feat']])
def test_frozen_parts_do_not_learn(make, images, samples, freeze):
    model = make(freeze=freeze).train()
    sum(model(images, samples, mode='loss').values()).backward()
    frozen = [p for part in freeze for own in own_parts(part) for name, p in model.named_parameters()
              if name.startswith(own)]
    assert frozen and not any(p.requires_grad or p.grad is not None for p in frozen)
    assert any(p.grad is not None for p in model.parameters())


def test_activation_checkpoint_changes_no_gradient(make, images, samples):
    found = []
    for flag in (False, True):
        model = make(activation_checkpoint=flag).train()
        torch.manual_seed(5)
        sum(model(images, samples, mode='loss').values()).backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found))


def test_bfloat16_is_near_float32(make, images, samples):
    model = make().eval()
    with torch.no_grad():
        full = model(images)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            half = model(images)
            losses = model(images, samples, mode='loss')
    assert half.class_logits.dtype == torch.float32
    assert (half.class_logits[0] - full.class_logits[0]).abs().max() < 0.05
    assert all(value.isfinite() for value in losses.values())


def test_a_backbone_of_timm(make, images):
    model = make(whole_backbone=dict(type='TimmBackbone', model_name='resnet10t')).eval()
    assert model(images).mask_logits().shape == (2, 10, 24, 32)
