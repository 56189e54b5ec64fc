import pytest

from maskforge.config import load_config
from maskforge.config.forms import wrong_forms

TABLE = [
    (dict(model=[1]), r'model is \[1\]; a dict is needed'),
    (dict(train_dataloader=dict(dataset='a')), "train_dataloader.dataset is 'a'; a dict is needed"),
    (dict(val_dataloader=dict(batch_size='4')), "val_dataloader.batch_size is '4'; a number is needed"),
    (dict(default_hooks=dict(logger=5)), 'default_hooks.logger is 5; a dict is needed'),
    (dict(default_hooks=dict(logger=dict(interval=[]))), r'default_hooks.logger.interval is \[\]; a number'),
    (dict(custom_hooks=dict(type='A')), r"custom_hooks is \{'type': 'A'\}; a list of dicts is needed"),
    (dict(param_scheduler=3), 'param_scheduler is 3; a dict or a list of dicts is needed'),
    (dict(val_evaluator=[dict(type='A'), 'B']), "val_evaluator holds 'B'; a list of dicts is needed"),
    (dict(work_dir=True), 'work_dir is True; a text is needed')]


@pytest.mark.parametrize(('values', 'message'), TABLE)
def test_wrong_kinds(values, message, tmp_path):
    path = tmp_path / 'bad.py'
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in values.items()))
    with pytest.raises(ValueError, match=f'bad.py: {message}'):
        load_config(path)


def test_what_passes():
    fine = dict(model=None, train_dataloader=object(), custom_hooks=[object(), dict(type='A')], mine=[1, 'a'],
                default_hooks=dict(visualization=None), param_scheduler=dict(first=[dict(type='A')]))
    assert list(wrong_forms(fine)) == []
