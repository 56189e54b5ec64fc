import math

import torch

from maskforge.models.deformable_detr.feature_levels import Tokens
from maskforge.models.deformable_detr.heads import PredictionHeads
from maskforge.models.deformable_detr.two_stage import ProposalStage, token_boxes

SHAPES = ((4, 5), (2, 2))


def tokens(padding=None, ratios=None):
    features = torch.randn(1, 24, 16, generator=torch.Generator().manual_seed(0))
    return Tokens(features, features, SHAPES, padding, torch.ones(1, 2, 2) if ratios is None else ratios)


def test_boxes_around_the_tokens():
    logits, usable = token_boxes(tokens())
    boxes = logits.sigmoid()
    assert torch.allclose(boxes[0, 7], torch.tensor([2.5 / 5, 1.5 / 4, 0.05, 0.05]), atol=1e-6)
    assert torch.allclose(boxes[0, 21], torch.tensor([1.5 / 2, 0.5 / 2, 0.1, 0.1]), atol=1e-6)
    assert usable.all()


def test_padding_is_not_proposed():
    padding = torch.zeros(1, 24, dtype=torch.bool)
    padding[0, [4, 9, 14, 19]] = True  # the last column of the first level
    ratios = torch.tensor([[[0.8, 1.0], [1.0, 1.0]]])
    logits, usable = token_boxes(tokens(padding, ratios))
    assert torch.equal(usable, ~padding)
    assert torch.isposinf(logits[padding]).all()
    assert torch.allclose(logits.sigmoid()[0, 0, :2], torch.tensor([0.5 / 4, 0.5 / 4]), atol=1e-6)


def test_tokens_at_the_border_are_left_out():
    features = torch.zeros(1, 60, 16)
    usable = token_boxes(Tokens(features, features, ((1, 60),), None, torch.ones(1, 1, 2)))[1]
    assert usable.sum() == 58 and not usable[0, 0] and not usable[0, -1]


def test_queries_are_the_best_by_class_zero_and_detached():
    torch.manual_seed(0)
    stage = ProposalStage(16, 3)
    heads = PredictionHeads(16, 2, 1, separate=True, two_stage=True)
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    memory = torch.randn(1, 24, 16, requires_grad=True)
    queries, proposals = stage(memory, tokens(), heads, layer=1)
    best = proposals.logits[0, :, 0].topk(3).indices
    assert torch.allclose(queries.reference[0], proposals.boxes_cxcywh[0, best])
    assert not queries.reference.requires_grad and proposals.boxes_cxcywh.requires_grad
    box = queries.reference[0, 0] * 2 * math.pi
    code = torch.stack([(box[:, None] / 10000**(2 * torch.arange(4) / 8)).sin(),
                        (box[:, None] / 10000**(2 * torch.arange(4) / 8)).cos()], -1).flatten()
    expected = stage.position_norm(stage.position(code))
    assert torch.allclose(torch.cat((queries.position, queries.content), -1)[0, 0], expected, atol=1e-5)


def test_first_stage_learns_from_its_own_loss_alone(make_random, images, samples):
    model = make_random(with_box_refine=True, two_stage=True).eval()
    losses = model(images, samples, mode='loss')
    sum(value for name, value in losses.items() if name.startswith('loss') and 'enc' not in name).backward()
    assert all(p.grad is None for p in model.heads.cls[2].parameters())
    losses = model(images, samples, mode='loss')
    sum(value for name, value in losses.items() if name.endswith('_enc')).backward()
    assert all(p.grad is not None for p in model.heads.cls[2].parameters())
