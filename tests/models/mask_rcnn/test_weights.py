import pytest
import torch

from maskforge.checkpoints.name_rules import COCO_IDS
from maskforge.models.mask_rcnn.weights import MMDetectionRCNNLayout, TorchvisionRCNNLayout
from maskforge.registry import CHECKPOINT_LAYOUTS, MODELS

LAYOUT = TorchvisionRCNNLayout()


def test_both_layouts_are_registered_and_told_apart(model):
    for name in ('MMDetectionRCNNLayout', 'TorchvisionRCNNLayout'):
        assert CHECKPOINT_LAYOUTS.get(name)().fits(model)
    ours = model.state_dict()
    theirs = LAYOUT.from_ours(ours, model)
    mmdet = MMDetectionRCNNLayout()
    assert (mmdet.matches(ours), mmdet.matches(theirs)) == (True, False)
    assert (LAYOUT.matches(ours), LAYOUT.matches(theirs)) == (False, True)


@pytest.mark.parametrize('layout', [LAYOUT, MMDetectionRCNNLayout()])
def test_round_trip(model, layout):
    ours = model.state_dict()
    back = layout.to_ours(layout.from_ours(ours, model), model)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], value) for name, value in ours.items())


def test_background_comes_first_in_torchvisions_rows(model):
    theirs = LAYOUT.from_ours(model.state_dict(), model)
    ours = model.roi_head.bbox_head.fc_cls.weight
    written = theirs['roi_heads.box_predictor.cls_score.weight']
    assert torch.equal(written[0], ours[3]) and torch.equal(written[1:], ours[:3])
    assert theirs['roi_heads.box_predictor.bbox_pred.weight'].shape[0] == 16
    assert theirs['roi_heads.mask_predictor.mask_fcn_logits.weight'].shape[0] == 4


def test_names_of_old_torchvision_files(model):
    theirs = LAYOUT.from_ours(model.state_dict(), model)
    old = {}
    for name, value in theirs.items():
        name = name.replace('rpn.head.conv.0.0.', 'rpn.head.conv.')
        for part in ('inner_blocks', 'layer_blocks'):
            for level in range(4):
                name = name.replace(f'{part}.{level}.0.', f'{part}.{level}.')
        old[name] = value
    assert 'backbone.fpn.inner_blocks.0.weight' in old
    back = LAYOUT.to_ours(old, model)
    # a mask head whose convolutions had names of their own
    assert all(torch.equal(back[name], value) for name, value in model.state_dict().items())


def test_mask_convolutions_of_old_files():
    state = {f'roi_heads.mask_head.mask_fcn{i}.weight': torch.tensor(float(i)) for i in (1, 2, 3, 4)}
    from maskforge.models.mask_rcnn.weights import _to_our_name, rename_old
    names = [_to_our_name(name, {}) for name in rename_old(state)]
    assert names == [f'roi_head.mask_head.convs.{i}.conv.weight' for i in range(4)]


def test_cocos_80_of_91_rows(config):
    for head in (config.roi_head.bbox_head, config.roi_head.mask_head):
        head.num_classes = 80
    model = MODELS.build(config)
    assert len(COCO_IDS) == 80 and COCO_IDS[-1] == 90 and 12 not in COCO_IDS
    theirs = LAYOUT.from_ours(model.state_dict(), model)
    rows = torch.arange(91.0)
    theirs['roi_heads.box_predictor.cls_score.bias'] = rows
    theirs['roi_heads.box_predictor.cls_score.weight'] = rows[:, None].expand(-1, 16)
    theirs['roi_heads.box_predictor.bbox_pred.bias'] = rows.repeat_interleave(4)
    theirs['roi_heads.box_predictor.bbox_pred.weight'] = rows.repeat_interleave(4)[:, None].expand(-1, 16)
    theirs['roi_heads.mask_predictor.mask_fcn_logits.bias'] = rows
    theirs['roi_heads.mask_predictor.mask_fcn_logits.weight'] = rows[:, None, None, None].expand(-1, 8, 1, 1)
    ours = LAYOUT.to_ours(theirs, model)
    assert ours['roi_head.bbox_head.fc_cls.bias'].tolist() == [*COCO_IDS, 0]
    assert ours['roi_head.bbox_head.fc_reg.bias'][::4].tolist() == COCO_IDS
    assert ours['roi_head.mask_head.conv_logits.bias'].tolist() == COCO_IDS
    model.load_state_dict(ours)


def test_a_preprocessors_constants_are_left_out(model):
    state = {**model.state_dict(), 'data_preprocessor.mean': torch.zeros(3)}
    assert MMDetectionRCNNLayout().to_ours(state, model).keys() == model.state_dict().keys()
