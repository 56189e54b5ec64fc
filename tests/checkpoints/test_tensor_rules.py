import pytest
import torch

from maskforge.checkpoints.tensor_rules import join_qkv, split_qkv, with_counters, without_foreign_counters

PART, WHOLE = r'(attn\.\d+)\.([qkv])_proj\.(weight|bias)', r'(attn\.\d+)\.in_proj_(weight|bias)'


def parts():
    return {f'attn.{layer}.{letter}_proj.{kind}': torch.randn(2, *shape)
            for layer in range(2) for letter in 'kqv' for kind, shape in (('weight', (3,)), ('bias', ()))}


def test_projections_are_joined_in_the_order_q_k_v_and_come_apart_again():
    state = {**parts(), 'norm.weight': torch.ones(2)}
    joined = join_qkv(state, PART, '{0}.in_proj_{1}')
    assert joined.keys() == {'norm.weight', *(f'attn.{i}.in_proj_{kind}' for i in range(2)
                                              for kind in ('weight', 'bias'))}
    assert torch.equal(joined['attn.1.in_proj_weight'],
                       torch.cat([state[f'attn.1.{letter}_proj.weight'] for letter in 'qkv']))
    back = split_qkv(joined, WHOLE, '{0}.{1}_proj.{2}')
    assert back.keys() == state.keys() and all(torch.equal(back[name], value) for name, value in state.items())


@pytest.mark.parametrize('lost', ['q', 'k', 'v'])
def test_a_projection_that_is_missing_is_named(lost):
    state = parts()
    state.pop(f'attn.1.{lost}_proj.bias')
    with pytest.raises(ValueError, match=rf'attn\.1\.{lost}_proj\.bias is not in the file, although attn\.1\.'):
        join_qkv(state, PART, '{0}.in_proj_{1}')


def test_counters():
    norm = torch.nn.BatchNorm2d(3)
    without = {name: value for name, value in norm.state_dict().items() if name != 'num_batches_tracked'}
    full = with_counters(without)
    assert full.keys() == norm.state_dict().keys() and full['num_batches_tracked'] == 0
    given = {**without, 'num_batches_tracked': torch.tensor(7)}
    assert with_counters(given)['num_batches_tracked'] == 7
    assert without_foreign_counters(given, norm).keys() == given.keys()
    assert without_foreign_counters(given, torch.nn.BatchNorm2d(3, track_running_stats=False)).keys() == without.keys()
