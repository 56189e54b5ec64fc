import math

import pytest
import torch

from maskforge.models.deformable_detr.heads import PredictionHeads, inverse_sigmoid


@pytest.mark.parametrize(('separate', 'two_stage', 'count', 'sizes'), [
    (False, False, 1, [-2.0]), (True, False, 3, [-2.0, 0.0, 0.0]), (True, True, 4, [0.0, 0.0, 0.0, 0.0])])
def test_fresh_heads(separate, two_stage, count, sizes):
    heads = PredictionHeads(8, 5, 3, separate=separate, two_stage=two_stage)
    assert len(heads.cls) == len(heads.box) == count
    for head in heads.cls:
        assert torch.allclose(head.bias, torch.full((5,), -4.59512), atol=1e-5)
    for head, size in zip(heads.box, sizes):
        assert not head.layers[-1].weight.any()
        assert head.layers[-1].bias.tolist() == [0.0, 0.0, size, size]


def test_which_head_serves_which_layer():
    shared = PredictionHeads(8, 5, 3, separate=False, two_stage=False)
    assert all(shared.box_head(layer) is shared.box[0] and shared.cls_head(layer) is shared.cls[0]
               for layer in range(3))
    own = PredictionHeads(8, 5, 3, separate=True, two_stage=True)
    assert all(own.box_head(layer) is own.box[layer] and own.cls_head(layer) is own.cls[layer] for layer in range(4))


def test_inverse_sigmoid():
    x = torch.tensor([-1.0, 0.0, 1e-7, 0.25, 1.0, 2.0])
    limit = math.log(1e-5)
    expected = torch.tensor([limit, limit, limit, math.log(1 / 3), -limit, -limit])
    assert torch.allclose(inverse_sigmoid(x), expected, atol=1e-3)
