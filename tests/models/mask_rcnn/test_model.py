import pytest
import torch
from tiny_rcnn import make_batch, make_sample, tiny_config

from maskforge.registry import MODELS

TWO = ([[10., 10, 60, 70], [50, 20, 120, 90]], [0, 2])
LOSSES = {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask'}


def loss_of(model, *samples):
    data = model.data_preprocessor(make_batch(*samples), True)
    return model(**data, mode='loss')


@pytest.mark.parametrize('samples', [
    [TWO, ([[5., 5, 40, 40]], [1])], [TWO, ([], [])], [([], []), ([], [])]], ids=['objects', 'one empty', 'all empty'])
def test_losses_are_finite_and_reach_every_parameter(model, samples):
    losses = loss_of(model.train(), *(make_sample(*sample) for sample in samples))
    assert set(losses) == LOSSES
    assert all(loss.isfinite() and loss.dim() == 0 and loss.dtype == torch.float32 for loss in losses.values())
    sum(losses.values()).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_an_image_with_only_crowds(config):
    for part in (config.train_cfg.rpn, config.train_cfg.rcnn):
        part.assigner.ignore_iof_thr = 0.5
    model = MODELS.build(config)
    losses = loss_of(model, make_sample([], [], ignored=[[0., 0, 128, 96]]))
    assert all(loss.isfinite() for loss in losses.values())
    assert losses['loss_cls'].item() == 0  # every proposal lies in the crowd
    sum(losses.values()).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_no_proposals_and_nothing_true(config):
    config.train_cfg.rpn_proposal.min_bbox_size = config.test_cfg.rpn.min_bbox_size = 10_000
    model = MODELS.build(config)
    losses = loss_of(model, make_sample([], []))
    sum(losses.values()).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]
    model.eval()
    found = model.val_step(make_batch(make_sample(*TWO)))[0].pred_instances
    assert (len(found.bboxes), len(found.masks)) == (0, 0)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision_gives_nearly_the_same_losses(config, dtype):
    for part, number in ((config.train_cfg.rpn, 10**6), (config.train_cfg.rcnn, 10**6)):
        part.sampler.num = number
    model = MODELS.build(config)
    full = loss_of(model, make_sample(*TWO))
    with torch.autocast('cpu', dtype=dtype):
        half = loss_of(model, make_sample(*TWO))
    for name in ('loss_rpn_cls', 'loss_cls', 'loss_mask'):
        assert half[name].dtype == torch.float32
        assert half[name].item() == pytest.approx(full[name].item(), rel=0.2)


def test_a_few_steps_lower_the_loss(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    values = []
    for step in range(20):
        torch.manual_seed(step)
        loss = sum(loss_of(model, make_sample(*TWO)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert sum(values[-3:]) < 0.85 * sum(values[:3])


def test_predictions_are_in_the_original_frame(model):
    model.eval()
    model.roi_head.test_cfg.score_thr = 0.0
    same, = model.val_step(make_batch(make_sample(*TWO)))
    model_twice, = model.val_step(make_batch(make_sample(*TWO, scale=(0.5, 0.25))))
    assert same.pred_instances.masks.height == 96 and same.pred_instances.masks.width == 128
    found = model_twice.pred_instances
    assert (found.masks.height, found.masks.width) == (384, 256)
    assert found.bboxes[:, 2].max() > 128 and found.bboxes[:, 3].max() > 96
    assert found.bboxes[:, 2].max() <= 256 and found.bboxes[:, 3].max() <= 384
    assert (found.scores.diff() <= 0).all() and len(found) == 20
    assert found.labels.dtype == torch.long and set(found.labels.tolist()) <= {0, 1, 2}
    assert all('size' in rle and isinstance(rle['counts'], bytes) for rle in found.masks.to_rles())


def test_a_batch_gives_what_single_images_give(model):
    model.eval()
    model.roi_head.test_cfg.score_thr = 0.0
    both = model.val_step(make_batch(make_sample(*TWO), make_sample([], [])))
    alone = [model.val_step(make_batch(sample))[0] for sample in (make_sample(*TWO), make_sample([], []))]
    for a, b in zip(both, alone):
        torch.testing.assert_close(a.pred_instances.scores, b.pred_instances.scores, atol=1e-5, rtol=0)


def test_raw_outputs_and_modes(model):
    images = torch.rand(2, 3, 96, 128)
    raw = model(images)
    assert [len(level) for level in raw[0]] == [2] * 5
    assert raw[2].shape[1] == 4 and raw[3].shape[1] == 12 and raw[4].shape[1:] == (3, 28, 28)
    assert raw[2].shape[0] == raw[4].shape[0]
    with pytest.raises(ValueError, match="mode='test' is not 'loss', 'predict' or 'tensor'"):
        model(images, mode='test')


def test_the_box_only_twin(config):
    config.type = 'FasterRCNN'
    config.roi_head.mask_head = config.roi_head.mask_roi_extractor = None
    config.train_cfg.rcnn.mask_size = config.test_cfg.rcnn.mask_thr_binary = None
    model = MODELS.build(config)
    assert set(loss_of(model, make_sample(*TWO))) == LOSSES - {'loss_mask'}
    model.eval()
    assert 'masks' not in model.val_step(make_batch(make_sample(*TWO)))[0].pred_instances


@pytest.mark.parametrize('agnostic', [True, False])
def test_class_agnostic_heads(config, agnostic):
    config.roi_head.bbox_head.reg_class_agnostic = config.roi_head.mask_head.class_agnostic = agnostic
    model = MODELS.build(config)
    assert model.roi_head.bbox_head.fc_reg.out_features == (4 if agnostic else 12)
    assert model.roi_head.mask_head.conv_logits.out_channels == (1 if agnostic else 3)
    assert all(loss.isfinite() for loss in loss_of(model, make_sample(*TWO)).values())
    model.eval()
    assert model.val_step(make_batch(make_sample(*TWO)))[0].pred_instances is not None


def test_without_train_cfg_it_predicts_and_says_why_it_cannot_train(config):
    config.train_cfg = None
    model = MODELS.build(config).eval()
    assert len(model.val_step(make_batch(make_sample(*TWO)))) == 1
    with pytest.raises(ValueError, match=r'model\.train_cfg with rpn and rcnn'):
        loss_of(model, make_sample(*TWO))


def test_a_weight_of_positives_and_a_border(config):
    torch.manual_seed(0)
    plain = MODELS.build(config)
    config.train_cfg.rpn.pos_weight = config.train_cfg.rcnn.pos_weight = 50.0
    config.train_cfg.rpn.allowed_border = 0
    heavy = MODELS.build(config)
    heavy.load_state_dict(plain.state_dict())
    a, b = loss_of(plain, make_sample(*TWO)), loss_of(heavy, make_sample(*TWO))
    assert b['loss_cls'] > 2 * a['loss_cls'] and b['loss_rpn_cls'] > a['loss_rpn_cls']


def test_tiny_config_is_fresh():
    assert tiny_config(num_classes=5).roi_head.bbox_head.num_classes == 5
