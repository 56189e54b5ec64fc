"""Which modules FSDP2 gathers each by itself."""
import pytest
from torch import nn

from maskforge.engine.strategies.sharding_units import automatic_units, named_units


class Block(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU())


class Model(nn.Module):
    sharded_parts = ('blocks', 'stages', 'heads', 'experts')

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.blocks = nn.ModuleList([Block(), Block(), Block(2)])
        self.stages = nn.Sequential(*(nn.Sequential(Block(), Block()) for _ in range(2)))
        self.heads = nn.ModuleList([nn.Linear(8, 4), nn.Linear(8, 4)])
        self.heads[1].weight = self.heads[0].weight
        self.experts = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.alias = self.experts[0]


def test_members_of_lists_of_like_modules():
    found = automatic_units(Model(), min_params=10)
    # innermost ones; heads share a weight, the first expert has a second place
    assert found == ['blocks.0', 'blocks.1', 'stages.0.0', 'stages.0.1', 'stages.1.0', 'stages.1.1', 'experts.1']


def test_only_in_the_parts_that_the_model_names():
    model = Model()
    model.sharded_parts = ('stages.1', 'stem')
    assert automatic_units(model, min_params=10) == ['stages.1.0', 'stages.1.1']
    model.backbone = model.blocks
    del model.blocks, model.sharded_parts
    Model.sharded_parts, kept = ('backbone',), Model.sharded_parts
    assert automatic_units(model, min_params=10) == ['backbone.0', 'backbone.1']
    Model.sharded_parts = kept


def test_small_ones_stay_with_the_rest():
    assert automatic_units(Model(), min_params=1000) == []


@pytest.mark.parametrize('given, expected', [
    (['blocks.*'], ['blocks.0', 'blocks.0.layers', 'blocks.0.layers.0', 'blocks.1', 'blocks.1.layers',
                    'blocks.1.layers.0', 'blocks.2', 'blocks.2.layers', 'blocks.2.layers.0']),
    (['stem'], ['stem']), ('stem', ['stem']), (['Conv2d'], ['stem']), (['blocks.?', 'stem'], None), ([], [])])
def test_names_patterns_and_classes(given, expected):
    found = named_units(Model(), given, 'strategy.units')
    assert found == (expected if expected is not None else found)
    assert expected is not None or {'blocks.0', 'blocks.1', 'blocks.2', 'stem'} <= set(found)


@pytest.mark.parametrize('given, words', [
    (['blocs'], ["strategy.units: 'blocs' is neither", 'near ones: blocks']), (['Blok'], ['Block']),
    (['ReLU'], ['modules with parameters']),
    (['heads.0'], ["'heads.0' shares parameters with heads.1.weight", 'holds both'])])
def test_errors(given, words):
    with pytest.raises(ValueError) as error:
        named_units(Model(), given, 'strategy.units')
    assert all(word in str(error.value) for word in words), error.value
