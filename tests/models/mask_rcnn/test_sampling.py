import pytest
import torch

from maskforge.models.mask_rcnn.matching import BACKGROUND, IGNORED
from maskforge.registry import TASK_UTILS


def matches(positive, negative, ignored=5):
    return torch.tensor([0] * positive + [BACKGROUND] * negative + [IGNORED] * ignored)


@pytest.mark.parametrize(('positive', 'negative', 'bound', 'expected'), [
    (100, 100, -1, (5, 15)), (2, 100, -1, (2, 18)), (100, 3, -1, (5, 3)), (0, 100, -1, (0, 20)), (0, 0, -1, (0, 0)),
    (2, 100, 3, (2, 6)), (0, 100, 3, (0, 3))])
def test_counts(positive, negative, bound, expected):
    sampler = TASK_UTILS.build(dict(type='RandomSampler', num=20, pos_fraction=0.25, neg_pos_ub=bound))
    given = matches(positive, negative)
    chosen = sampler.sample(given)
    assert tuple(map(len, chosen)) == expected
    assert (given[chosen[0]] >= 0).all() and (given[chosen[1]] == BACKGROUND).all()
    assert all(len(part.unique()) == len(part) for part in chosen)


def test_draws_differ_and_follow_the_seed():
    sampler = TASK_UTILS.build(dict(type='RandomSampler', num=20, pos_fraction=0.5))
    torch.manual_seed(0)
    first, second = sampler.sample(matches(50, 50)), sampler.sample(matches(50, 50))
    torch.manual_seed(0)
    again = sampler.sample(matches(50, 50))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], second[0])
