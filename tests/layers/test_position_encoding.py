import math

import pytest
import torch

from maskforge.layers import SinePositionEncoding
from maskforge.layers.position_encoding import sine_code


def slow(padding, num_feats, offset):
    """By the formula of the paper, entry by entry, in double precision."""
    height, width = padding.shape
    code = torch.zeros(2 * num_feats, height, width, dtype=torch.float64)
    inside = ~padding
    for i in range(height):
        for j in range(width):
            y = (inside[:i + 1, j].sum().item() + offset) / (inside[:, j].sum().item() + 1e-6) * 2 * math.pi
            x = (inside[i, :j + 1].sum().item() + offset) / (inside[i].sum().item() + 1e-6) * 2 * math.pi
            for axis, position in enumerate((y, x)):
                for k in range(num_feats):
                    angle = position / 10000**(2 * (k // 2) / num_feats)
                    code[axis * num_feats + k, i, j] = math.sin(angle) if k % 2 == 0 else math.cos(angle)
    return code


@pytest.mark.parametrize('offset', [-0.5, 0.0])
def test_codes_of_a_padded_image(offset):
    padding = torch.zeros(2, 4, 5, dtype=torch.bool)
    padding[1, 3:], padding[1, :, 3:] = True, True
    found = SinePositionEncoding(6, offset=offset)(padding)
    assert found.dtype == torch.float32 and found.shape == (2, 12, 4, 5)
    for image, mask in zip(found, padding):
        inside = ~mask
        assert torch.allclose(image.double()[:, inside], slow(mask, 6, offset)[:, inside], atol=1e-5)


def test_a_code_depends_on_the_place_in_the_image_alone():
    alone = SinePositionEncoding(8, offset=-0.5)(torch.zeros(1, 3, 4, dtype=torch.bool))
    padding = torch.ones(1, 6, 7, dtype=torch.bool)
    padding[:, :3, :4] = False
    assert torch.equal(SinePositionEncoding(8, offset=-0.5)(padding)[..., :3, :4], alone)


def test_without_normalisation_positions_count_from_one():
    found = SinePositionEncoding(2, normalize=False)(torch.zeros(1, 2, 3, dtype=torch.bool))
    assert torch.allclose(found[0, 0, :, 0], torch.tensor([1.0, 2.0]).sin())
    assert torch.allclose(found[0, 3, 0], torch.tensor([1.0, 2.0, 3.0]).cos())


def test_float32_in_a_model_of_half_precision():
    module = SinePositionEncoding(4).bfloat16()
    assert module(torch.zeros(1, 500, 2, dtype=torch.bool)).dtype == torch.float32


def test_sine_code_interleaves():
    code = sine_code(torch.tensor([0.3]), 4, temperature=100)
    expected = [math.sin(0.3), math.cos(0.3), math.sin(0.03), math.cos(0.03)]
    assert torch.allclose(code, torch.tensor([expected]))


@pytest.mark.parametrize('options', [{}, dict(normalize=False), dict(offset=-0.5)])
def test_a_map_without_padding_has_the_same_codes(options):
    encoding, level = SinePositionEncoding(6, **options), torch.zeros(2, 3, 5, 7, dtype=torch.bfloat16)
    wanted = encoding(torch.zeros(1, 5, 7, dtype=torch.bool))
    assert torch.equal(encoding.of_map(level), wanted.flatten(2).transpose(1, 2))
