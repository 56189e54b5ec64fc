import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder

from maskforge import ops
from maskforge.registry import TASK_UTILS

REFERENCES = torch.tensor([[10., 10, 50, 40], [0, 0, 8, 100]])
TARGETS = torch.tensor([[12., 5, 60, 45], [3, 20, 30, 90]])


def test_encoding_equals_torchvisions():
    want = BoxCoder((10.0, 10.0, 5.0, 5.0)).encode_single(TARGETS, REFERENCES)
    torch.testing.assert_close(ops.encode_deltas(REFERENCES, TARGETS, stds=(0.1, 0.1, 0.2, 0.2)), want)


@given(st.floats(0.05, 2), st.floats(-1, 1))
@settings(max_examples=20, deadline=None)
def test_decoding_inverts_encoding(std, mean):
    coder = ops.DeltaXYWHBBoxCoder([mean] * 4, [std] * 4)
    torch.testing.assert_close(coder.decode(REFERENCES, coder.encode(REFERENCES, TARGETS)), TARGETS, atol=1e-3, rtol=0)


def test_growth_is_bounded_and_boxes_are_clipped():
    huge = torch.full((2, 4), 1e6)
    assert ops.decode_deltas(REFERENCES, huge).isfinite().all()
    wide = torch.tensor([[0., 0, 9, 9]]).expand(2, -1)
    assert ops.decode_deltas(REFERENCES, wide, max_shape=(60, 80)).tolist() == [[0, 0, 80, 60], [0, 0, 80, 60]]
    unclipped = ops.DeltaXYWHBBoxCoder(clip_border=False).decode(REFERENCES, wide, max_shape=(60, 80))
    assert unclipped.max() > 80


def test_class_wise_offsets_broadcast_over_the_references():
    assert ops.decode_deltas(REFERENCES[:, None], torch.zeros(2, 5, 4)).shape == (2, 5, 4)


def test_is_registered_and_checks_its_numbers():
    assert isinstance(TASK_UTILS.build(dict(type='DeltaXYWHBBoxCoder')), ops.DeltaXYWHBBoxCoder)
    with pytest.raises(ValueError, match='four positive target_stds'):
        ops.DeltaXYWHBBoxCoder(target_stds=[1.0, 0.0, 1.0, 1.0])
