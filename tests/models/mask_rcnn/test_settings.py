import pytest

from maskforge.models.mask_rcnn.settings import ProposalSettings, RCNNTrainSettings, read_settings
from maskforge.registry import MODELS


@pytest.mark.parametrize(('path', 'value', 'message'), [
    (('test_cfg', 'rcnn', 'score_threshold'), 0.1,
     "test_cfg.rcnn has no setting 'score_threshold': did you mean score_thr"),
    (('test_cfg', 'rpn', 'nms_thr'), 0.7, "test_cfg.rpn has no setting 'nms_thr': did you mean nms_pre"),
    (('train_cfg', 'rcnn', 'masksize'), 28, "train_cfg.rcnn has no setting 'masksize': did you mean mask_size"),
    (('train_cfg', 'rpn', 'borders'), 28, "train_cfg.rpn has no setting 'borders'"),
    (('train_cfg', 'rpn_proposals'), {}, "train_cfg has no setting 'rpn_proposals': did you mean rpn_proposal"),
    (('test_cfg', 'rcn'), {}, "test_cfg has no setting 'rcn': did you mean rcnn"),
    (('test_cfg', 'rcnn', 'nms'), dict(type='soft_nms', iou_threshold=0.5),
     r"test_cfg.rcnn.nms must be dict\(type='nms'"),
    (('test_cfg', 'rcnn', 'nms'), dict(type='nms', iou_thr=0.5),
     "nms has no setting 'iou_thr': did you mean iou_threshold"),
    (('train_cfg', 'rcnn', 'assigner'), None, 'train_cfg.rcnn must have assigner'),
    (('train_cfg', 'rcnn', 'mask_size'), 14, 'mask_size=14, but the mask head predicts 28 x 28'),
    (('train_cfg', 'rcnn', 'mask_target'), 'hard', "mask_target='hard' is not 'binary' or 'soft'"),
    (('roi_head', 'mask_head', 'num_classes'), 7, 'mask_head.num_classes=7 and roi_head.bbox_head.num_classes=3'),
    (('roi_head', 'mask_head'), None, 'MaskRCNN is built with roi_head.mask_head; the other form is FasterRCNN')])
def test_a_wrong_setting_is_named(config, path, value, message):
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_what_mmdetection_writes_without_effect_is_warned_of():
    with pytest.warns(UserWarning, match=r'train_cfg.rcnn.debug has no effect'):
        settings = read_settings(RCNNTrainSettings, dict(assigner={}, sampler={}, pos_weight=-1, debug=False),
                                 'train_cfg.rcnn')
    assert settings.pos_weight == -1


def test_defaults_and_ready_settings():
    assert read_settings(ProposalSettings, {}, 'here').nms == dict(type='nms', iou_threshold=0.7)
    ready = ProposalSettings(nms_pre=5)
    assert read_settings(ProposalSettings, ready, 'here') is ready
