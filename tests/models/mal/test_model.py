"""The wiring: which images and numbers go where, and every setting of the model."""
import pytest
import torch
from mmengine.logging import MessageHub

from maskforge.models.mal.compat import Compat
from maskforge.models.mal.postprocess import fill_plausibility


class Recorder(torch.nn.Module):
    """Takes the criterion's place and keeps what it was given."""

    def forward(self, *arguments):
        self.arguments = arguments
        return dict(loss_mil=arguments[0].sum(), loss_crf=arguments[0].sum())


def record(model, inputs, samples):
    model.criterion = Recorder()
    losses = model(inputs, samples, mode='loss')
    assert set(losses) == {'loss_mil', 'loss_crf'}
    return model.criterion.arguments


def pair(crops, count=2):
    return dict(student=crops(count, seed=1), teacher=crops(count, seed=2))


def test_losses_get_both_networks_boxes_and_step(tiny, sample, crops):
    model, inputs = tiny().train(), pair(crops)
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.mul_(1.1)
    samples = [sample(500.0), sample(20000.0, box=(12.0, 22.0, 40.0, 50.0))]
    student, teacher, image, boxes, crop_size, _ = record(model, inputs, samples)
    areas = [500.0, 20000.0]
    assert torch.equal(student, model.student(inputs['student'], areas)) and student.requires_grad
    assert torch.equal(teacher, model.teacher(inputs['teacher'], areas)) and not teacher.requires_grad
    assert image is inputs['teacher'] and crop_size == 64
    torch.testing.assert_close(boxes, torch.tensor([list(one.box_in_crop) for one in samples]))


@pytest.mark.parametrize(('settings', 'image'), [
    ({}, 'teacher'), (dict(compat='reference'), 'student'), (dict(crf_kernel_image='student'), 'student'),
    (dict(compat='reference', crf_kernel_image='clean'), 'teacher'),
])
def test_image_of_the_mean_field(tiny, sample, crops, settings, image):
    inputs = pair(crops)
    assert record(tiny(**settings), inputs, [sample(), sample()])[2] is inputs[image]


def test_crops_without_augmentation_serve_both(tiny, sample, crops):
    images = crops(1)
    assert record(tiny(), images, [sample()])[2] is images


@pytest.mark.parametrize(('compat', 'iteration', 'epoch', 'step'), [
    ('default', None, None, 4000), ('default', 17, 0, 17), ('default', 17, 3, 17),
    ('reference', None, None, 4000), ('reference', 17, 0, 17), ('reference', 17, 3, 4000),
])
def test_step_of_the_warm_up(tiny, sample, crops, compat, iteration, epoch, step):
    hub = MessageHub.get_current_instance()
    if iteration is not None:
        hub.update_info_dict(dict(iter=iteration, epoch=epoch))
    assert record(tiny(compat=compat), pair(crops), [sample(), sample()])[5] == step


def test_no_gradients_reach_the_teacher(tiny, sample, crops):
    model = tiny().train()
    sum(model(pair(crops), [sample(500.0), sample()], mode='loss').values()).backward()
    assert all(p.grad is not None for p in model.student.parameters())
    assert all(p.grad is None for p in model.teacher.parameters())


@pytest.mark.parametrize('mode', ['fp32', 'bf16'])
def test_losses_are_finite_float32(tiny, sample, crops, mode):
    model = tiny().train()
    with torch.autocast('cpu', torch.bfloat16, enabled=mode == 'bf16'):
        losses = model(pair(crops), [sample(500.0), sample()], mode='loss')
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())


def apart(model):
    """A teacher that disagrees with the student."""
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def test_raw_output_of_student_teacher_and_both(tiny, sample, crops):
    images, samples, areas = crops(2), [sample(500.0), sample()], [500.0, 5000.0]
    plain = apart(tiny())
    student, teacher = plain.student(images, areas), plain.teacher(images, areas)
    assert torch.equal(plain(images, samples), student)
    for settings, expected in ((dict(use_teacher_test=True), teacher),
                               (dict(use_mixed_model_test=True), (student + teacher) / 2)):
        model = tiny(**settings).eval()
        model.load_state_dict(plain.state_dict())
        torch.testing.assert_close(model(images, samples), expected)
    assert torch.equal(plain(dict(student=images * 0, teacher=images), samples), student)
    assert torch.equal(plain(images), plain.student(images))


def test_flip_test(tiny, sample, crops):
    images, samples = crops(2), [sample(), sample()]
    plain, flipping = apart(tiny()), apart(tiny(use_flip_test=True))
    flipping.load_state_dict(plain.state_dict())
    mirrored = plain(images.flip(3), samples).flip(2)
    torch.testing.assert_close(flipping(images, samples), (plain(images, samples) + mirrored) / 2)
    assert not torch.allclose(flipping(images, samples), plain(images, samples))


def test_predictions(tiny, sample, crops):
    model = apart(tiny(mask_thres=[0.5]))
    found = model(crops(3), [sample(500.0), sample(), sample(label=0)], mode='predict')
    assert len(found) == 3 and [one.pred_instances.labels.item() for one in found] == [1, 1, 0]
    for one in found:
        quality = one.pred_instances
        assert 0 <= quality.scores.item() <= 1
        fill = quality.box_fill.item()
        assert fill == pytest.approx(quality.masks.areas().item() / 1600)
        assert quality.scores.item() ** 3 == pytest.approx(
            quality.teacher_agreement.item() * quality.box_agreement.item() * fill_plausibility(fill), abs=1e-5)
        assert not quality.masks.to_bitmaps()[0][:, :10].any()


def test_batches_of_any_size_give_the_same_masks(tiny, sample, crops):
    model, images = apart(tiny(mask_thres=[0.5])), crops(4)
    areas = [500.0, 5000.0, 20000.0, 600.0]
    together = model(images, [sample(area) for area in areas], mode='predict')
    for i, area in enumerate(areas):
        alone = model(images[i:i + 1], [sample(area)], mode='predict')[0]
        assert (together[i].pred_instances.masks.to_bitmaps() == alone.pred_instances.masks.to_bitmaps()).mean() > 0.99


def test_a_threshold_changes_the_masks(tiny, sample, crops):
    model = apart(tiny(mask_thres=[0.0]))
    middle = model(crops(1), [sample()]).sigmoid().median().item()
    higher = apart(tiny(mask_thres=[middle]))
    higher.load_state_dict(model.state_dict())
    areas = [one(crops(1), [sample()], mode='predict')[0].pred_instances.masks.areas()[0] for one in (model, higher)]
    assert areas[0] == 40 * 40 and 0 < areas[1] < areas[0]


def test_widths_of_the_heads(tiny, crops):
    model = tiny(mask_head_num_convs=2, mask_head_hidden_channel=12, mask_head_out_channel=6)
    shapes = [tuple(conv.conv.weight.shape[:2]) for conv in model.student.mask_head.convs]
    assert shapes == [(12, 32), (6, 12)] and model.student.roi_head.mlp2.out_features == 6
    assert model(crops(1)).shape == (1, 16, 16)


def test_layers_for_learning_rates(tiny):
    model = tiny()
    names = ['student.backbone.pos_embed', 'student.backbone.blocks.1.norm1.bias', 'student.backbone.norm.weight',
             'student.mask_head.convs.0.conv.weight', 'teacher.backbone.pos_embed']
    assert [model.layer_id(name) for name in names] == [0, 2, 3, None, None]
    other = tiny(arch=None, backbone=dict(type='ResNet', depth=18, num_stages=1, out_indices=[0]))
    assert other.layer_id('student.backbone.conv1.weight') is None


def test_own_set_of_differences(tiny):
    model = tiny(compat=Compat(size_bins='open', position_form='scale'))
    assert model.student.size_bins == model.settings.size_bins == 'open'
    assert model.student.backbone.position_form == 'scale'


def test_teacher_beside_the_mean_is_warned_of(tiny):
    with pytest.warns(UserWarning, match='use_teacher_test has no effect beside it'):
        tiny(use_teacher_test=True, use_mixed_model_test=True)


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(crf_kernel_image='teacher'), "crf_kernel_image='teacher' is not one of student, clean"),
    (dict(compat='tao5'), "compat='tao5' does not exist: did you mean 'tao6'"),
    (dict(arch='vit-mae-bas/16'), 'did you mean vit-mae-base/16'),
    (dict(mask_thres=[0.1, 0.2]), 'mask_thres must hold one threshold, or three'),
])
def test_bad_settings(tiny, settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)


def test_another_mode(tiny, crops):
    with pytest.raises(ValueError, match="mode='test' is not 'loss', 'predict' or 'tensor'"):
        tiny()(crops(1), mode='test')
