"""What a config may say about strategies, and what it is told otherwise."""
import inspect

import pytest
import torch
from torch import nn

from maskforge.config import Config, check_keys
from maskforge.engine.strategies import (
    DDPStrategy,
    FSDP2Strategy,
    ShardedDDPStrategy,
    Strategy,
    build_strategy,
)
from maskforge.registry import STRATEGIES


@pytest.mark.parametrize('config, expected', [
    (None, DDPStrategy), ('ddp', DDPStrategy), ('fsdp', FSDP2Strategy), ('fsdp2', FSDP2Strategy),
    ('ddp_sharded', ShardedDDPStrategy), ('FSDP2Strategy', FSDP2Strategy),
    (dict(type='ddp_sharded'), ShardedDDPStrategy),
    (dict(type='DDPStrategy', static_graph=True), DDPStrategy)])
def test_names(config, expected):
    assert type(build_strategy(config)) is expected


def test_a_strategy_is_taken_as_it_is():
    strategy = FSDP2Strategy(min_params=3)
    assert build_strategy(strategy) is strategy


@pytest.mark.parametrize('config, words', [
    ('fdsp', ["strategy='fdsp' is unknown", 'did you mean fsdp']),
    ('zero', ["strategy='zero' is unknown", 'ddp, fsdp, ddp_sharded']),
    (dict(min_params=3), ['strategy must be one of', "'ddp_sharded'"]),
    (3, ['strategy must be one of']),
    (dict(type='fsdp', reshard_after_foward=False), [
        'strategy.reshard_after_foward', 'did you mean reshard_after_forward']),
    (dict(type='ddp', qqq=1), ['strategy.qqq: DDPStrategy has no such option', 'find_unused_parameters']),
    (dict(type='fsdp', param_dtype='bf16'), ['strategy.param_dtype', "'bf16'", 'bfloat16']),
    (dict(type='fsdp', checkpoint='parts'), ["strategy.checkpoint must be 'full' or 'sharded'"]),
    (dict(type='ddp', gradient_compression='int8'), ['strategy.gradient_compression', 'bfloat16']),
    ('DeepSpeedStrategy', ["FlexibleRunner", 'ddp, fsdp, ddp_sharded']),
])
def test_errors_name_the_key_and_near_ones(config, words):
    with pytest.raises(ValueError) as error:
        build_strategy(config)
    assert all(word in str(error.value) for word in words), error.value


def test_keys_of_the_config_are_defaults_of_the_options():
    assert build_strategy('ddp', find_unused_parameters=True).find_unused_parameters
    assert not build_strategy(dict(type='ddp', find_unused_parameters=False), find_unused_parameters=True
                              ).find_unused_parameters
    build_strategy('fsdp', find_unused_parameters=True)  # has no such option


def test_lint_knows_the_options():
    findings = check_keys(Config(dict(strategy=dict(type='FSDP2Strategy', min_parms=1))))
    assert any('strategy.min_parms' in str(finding) and 'min_params' in str(finding) for finding in findings)


@pytest.mark.parametrize('name', ['DDPStrategy', 'FSDP2Strategy', 'ShardedDDPStrategy'])
def test_every_option_is_documented(name):
    cls = STRATEGIES.get(name)
    text = cls.__doc__ if name != 'ShardedDDPStrategy' else DDPStrategy.__doc__
    assert all(f'{option}' in text for option in inspect.signature(cls).parameters)


def test_one_process_needs_no_wrapping():
    model = nn.Linear(2, 2)
    for strategy in map(build_strategy, ('ddp', 'ddp_sharded', 'fsdp')):
        assert strategy.wrap(model, None, distributed=False) is model
        assert not strategy.gathers and strategy.checkpoint_suffix == '.pth'
        checkpoint = dict(state_dict=dict(weight=torch.zeros(2)))
        assert strategy.gather(checkpoint) is checkpoint
        with strategy.evaluation(model):
            pass


def test_fsdp_takes_no_wrapper():
    with pytest.raises(ValueError, match="leave out model_wrapper_cfg, which belongs to 'ddp'"):
        build_strategy('fsdp').wrap(nn.Linear(2, 2), dict(type='MMDistributedDataParallel'), distributed=True)


def test_strategies_of_users():
    class Mine(Strategy):
        """Alone."""

    strategy = build_strategy(dict(type=Mine))
    model = nn.Linear(2, 2)
    assert isinstance(strategy, Mine) and strategy.wrap(model, None, distributed=False) is model
    assert not strategy.save_in_parts({}, 'folder')
