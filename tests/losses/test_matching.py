import pytest
import torch
from scipy.optimize import linear_sum_assignment

from maskforge.losses import match

COUNTS = (3, 0, 5)


def some_costs(queries: int = 6, layers: int = 2) -> torch.Tensor:
    return torch.randn(layers, len(COUNTS), queries, max(COUNTS), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('queries', [6, 4, 1])
def test_equals_scipy_per_layer_and_image(queries):
    """With 4 queries and 1, image 2 has more targets than queries."""
    costs = dict(decoder=some_costs(queries), encoder=some_costs(9, layers=1))
    found = match(costs, COUNTS)
    assert list(found) == ['decoder', 'encoder']
    for name, cost in costs.items():
        rows = set(zip(*(part.tolist() for part in found[name])))
        want = set()
        for layer, images in enumerate(cost):
            for image, start in enumerate((0, 3, 3)):
                pairs = zip(*linear_sum_assignment(images[image, :, :COUNTS[image]].numpy()))
                want |= {(layer, image, int(query), int(target) + start) for query, target in pairs}
        assert rows == want and len(found[name].layers) == len(want)


def test_sorted_by_layer_image_target():
    found = match(dict(decoder=some_costs()), COUNTS)['decoder']
    keys = list(zip(found.layers.tolist(), found.targets.tolist()))
    assert keys == sorted(keys) and found.targets.dtype == torch.int64


def test_padded_columns_do_not_matter():
    cost = some_costs()
    want = match(dict(decoder=cost), COUNTS)['decoder']
    cost[:, 0, :, 3:], cost[:, 1] = torch.nan, -torch.inf
    for mine, other in zip(match(dict(decoder=cost), COUNTS)['decoder'], want):
        assert mine.equal(other)


def test_no_targets_at_all():
    found = match(dict(decoder=torch.zeros(2, 3, 4, 0)), [0, 0, 0])['decoder']
    assert [len(part) for part in found] == [0, 0, 0, 0]


@pytest.mark.parametrize('bad', [torch.nan, torch.inf, -torch.inf])
def test_not_finite_names_layer_image_and_context(bad):
    cost = some_costs()
    cost[1, 2, 3, 4] = bad
    expected = ('matching at iteration 7: the costs of decoder layer 1, image 2 of the batch, are NaN or infinite for '
                '1 of 6 queries.*lower the learning rate')
    with pytest.raises(FloatingPointError, match=expected):
        match(dict(decoder=cost), COUNTS, context='matching at iteration 7')


def test_survival_matches_bad_queries_last(monkeypatch):
    said = []
    monkeypatch.setattr('maskforge.losses.matching.print_log', lambda text, *_: said.append(text))
    cost = some_costs()
    cost[0, 2, 1] = torch.nan
    found = match(dict(decoder=cost), COUNTS, survive=True)['decoder']
    used = found.queries[(found.layers == 0) & (found.images == 2)].tolist()
    assert len(said) == 1 and 'decoder layer 0, image 2' in said[0]
    assert sorted(used) == [0, 2, 3, 4, 5]
