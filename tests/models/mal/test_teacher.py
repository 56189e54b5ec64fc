"""The moving average, and that the teacher takes no part in training."""
import copy

import pytest
import torch

FAN = dict(arch='fan_tiny_12_p16_224', backbone=dict(embed_dim=32, depth=2))


def tensors(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def same(first, second):
    first, second = tensors(first), tensors(second)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize('settings', [{}, FAN])
def test_starts_as_a_copy(tiny, settings):
    model = tiny(**settings)
    assert same(model.student, model.teacher)
    assert not {p.data_ptr() for p in model.student.parameters()} & {p.data_ptr() for p in model.teacher.parameters()}
    assert list(dict(model.student.named_parameters())) == list(dict(model.teacher.named_parameters()))


def test_follows_after_initialisation(tiny, tmp_path):
    weights = tiny().student.backbone.state_dict()
    torch.save({key: value + 1 for key, value in weights.items()}, tmp_path / 'backbone.pth')
    backbone = dict(embed_dim=32, depth=2, num_heads=4, img_size=64,
                    init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth')))
    model = tiny(backbone=backbone)
    model.init_weights()
    assert torch.equal(model.student.backbone.norm.weight, weights['norm.weight'] + 1)
    assert same(model.student, model.teacher)


@pytest.mark.parametrize('momentum', [0.996, 0.5, 0.0, 1.0])
def test_moving_average_in_float64(tiny, momentum):
    model = tiny(teacher_momentum=momentum)
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(torch.randn_like(parameter))
    expected = {key: value.double() for key, value in tensors(model.teacher).items()}
    for _ in range(3):
        model.update_teacher()
        expected = {key: momentum * value + (1 - momentum) * model.student.state_dict()[key].double()
                    for key, value in expected.items()}
    for key, value in tensors(model.teacher).items():
        torch.testing.assert_close(value.double(), expected[key], atol=1e-5, rtol=1e-5)


def test_buffers_are_copied(tiny, crops):
    model = tiny(**FAN).train()
    model.student(crops(2))
    bn = model.student.backbone.patch_embed.proj[0][1]
    assert bn.num_batches_tracked == 1
    model.update_teacher()
    own = dict(model.teacher.named_buffers())
    assert own and all(torch.equal(own[name], buffer) for name, buffer in model.student.named_buffers())


def test_always_in_evaluation_mode_and_without_gradients(tiny):
    model = tiny(**FAN).train()
    assert model.student.training and not any(module.training for module in model.teacher.modules())
    assert not any(p.requires_grad for p in model.teacher.parameters())


def test_frozen_parts_stay_equal_bit_by_bit(tiny):
    model = tiny(frozen_stages=[1])
    for _ in range(5):
        model.update_teacher()
    assert same(model.student.backbone.blocks[0], model.teacher.backbone.blocks[0])


def test_copies_of_the_model_are_whole(tiny):
    model = tiny(frozen_stages=[1])
    twin = copy.deepcopy(model).train()
    assert not twin.student.backbone.blocks[0].training and twin.student.backbone.blocks[1].training


@pytest.mark.parametrize('momentum', [-0.1, 1.5])
def test_momentum_out_of_range(tiny, momentum):
    with pytest.raises(ValueError, match=rf'teacher_momentum={momentum} must be in \[0, 1\]'):
        tiny(teacher_momentum=momentum)
