"""The scale-adaptive path, its holes in the reference mode, and the fixed one."""
import pytest
import torch
from torch.nn import functional as F


@torch.no_grad()
def expected_logits(network, image, scale, ratio):
    """One crop's logits: features resized, values, dot product, resized to the common side."""
    features = network.backbone(image[None])[0]
    key = network.roi_head(features)[0].double()
    side = features.shape[-1]
    if scale != 1:
        features = F.interpolate(features, scale_factor=scale, mode='bilinear', align_corners=False)
    values = network.mask_head(features)[0].double()
    assert values.shape[-1] == 2 * scale * side
    logits = sum(key[c] * values[c] for c in range(len(key)))
    return F.interpolate(logits[None, None], size=[ratio * side] * 2, mode='bilinear', align_corners=False)[0, 0]


AREAS = [(500.0, 0.5), (9216.0, 2), (4000.0, 1), (1024.0, 1), (50.0, 0.5), (99999.0, 2)]


def test_every_size_at_its_scale_in_the_order_of_the_batch(tiny, crops):
    network, images = tiny().student.eval(), crops(len(AREAS))
    found = network(images, [area for area, _ in AREAS])
    assert found.shape == (6, 16, 16) and found.dtype == torch.float32
    for i, (_, scale) in enumerate(AREAS):
        torch.testing.assert_close(found[i].double(), expected_logits(network, images[i], scale, 4),
                                   atol=1e-4, rtol=1e-4)


def test_one_size_alone_and_no_areas(tiny, crops):
    network, images = tiny().student.eval(), crops(2)
    for areas, scale in (([2000.0, 3000.0], 1), (None, 2)):
        found = network(images, areas)
        for i in range(2):
            torch.testing.assert_close(found[i].double(), expected_logits(network, images[i], scale, 4),
                                       atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('area', [0.0, 1024.0, 9216.0])
def test_reference_bins_have_holes(tiny, crops, area):
    model = tiny(compat='reference')
    logits = model.student(crops(2), [area, 2000.0])
    assert not logits[0].any() and logits[1].any()
    logits.sum().backward()
    assert all(p.grad is not None for p in model.student.parameters())
    assert tiny().student(crops(2), [area, 2000.0])[0].any()


def test_a_batch_of_holes_keeps_zero_gradients(tiny, crops):
    model = tiny(compat='reference')
    model.student(crops(1), [1024.0]).sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.student.parameters())


def test_fixed_scale(tiny, crops):
    network, images = tiny(not_adjust_scale=True).student.eval(), crops(2)
    found = network(images, [500.0, 99999.0])
    assert found.shape == (2, 32, 32)
    for i in range(2):
        torch.testing.assert_close(found[i].double(), expected_logits(network, images[i], 1, 8), atol=1e-4, rtol=1e-4)


def test_other_crop_sizes(tiny):
    network = tiny().student.eval()
    assert network(torch.zeros(1, 3, 96, 160), [500.0]).shape == (1, 24, 40)
    assert network(torch.zeros(1, 3, 16, 16), [500.0]).shape == (1, 4, 4)


def test_backbones_with_several_levels(tiny):
    with pytest.raises(ValueError, match=r'the backbone must return one level; ResNet.out_channels is \(64, 128'):
        tiny(arch=None, backbone=dict(type='ResNet', depth=18))
