import pytest

from maskforge.models.deformable_detr.backbone_levels import build_backbone

RESNET = dict(type='ResNet', depth=18, base_channels=8)


@pytest.mark.parametrize(('indices', 'strides', 'extra'), [
    ([0, 1, 2, 3, 4], (4, 8, 16, 32), True), ([1, 2, 3], (8, 16, 32), False), ([1], (8,), False),
    ([3, 4], (32,), True)])
@pytest.mark.parametrize('config', [RESNET, dict(type='TimmBackbone', model_name='resnet10t')])
def test_levels(config, indices, strides, extra):
    backbone, more = build_backbone(config, len(indices), indices)
    assert backbone.strides == strides and more is extra


@pytest.mark.parametrize(('config', 'count', 'indices', 'message'), [
    (RESNET, 3, [1, 2], r'num_feature_levels=3, but return_interm_indices=\[1, 2\] are 2 levels'),
    (RESNET, 2, [2, 1], r'must be rising numbers from 0 to 4'),
    (RESNET, 2, [1, 5], r'must be rising numbers from 0 to 4'),
    (RESNET, 0, [], r'must be rising numbers'),
    (RESNET, 1, [4], r'the added level 4 needs one of the backbone'),
    (dict(RESNET, out_indices=(0, 1, 2)), 4, [1, 2, 3, 4],
     r'backbone.out_indices=\(0, 1, 2\) are not the stages \(1, 2, 3\)'),
    (dict(type='TimmBackbone', model_name='resnet10t', out_indices=(3, 4)), 4, [1, 2, 3, 4],
     r'needs 3 levels of the backbone, but its out_indices=\(3, 4\) give 2')])
def test_contradictions(config, count, indices, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(config, count, indices)


def test_dilated_networks_of_timm():
    config = dict(type='TimmBackbone', model_name='resnet10t', output_stride=16)
    assert build_backbone(config, 1, [3])[0].strides == (16,)
