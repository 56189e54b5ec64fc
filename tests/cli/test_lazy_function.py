"""Functions that are known before they are imported."""
import importlib
import inspect
import sys
from pathlib import Path

import pytest

from maskforge.cli.convert import FORMATS
from maskforge.cli.lazy_function import LazyFunction

ALL = [*((f'maskforge.analysis.{module}', 'run') for module in (
    'benchmark', 'browse', 'confusion_matrix', 'draw_video', 'flops')),
    ('maskforge.analysis.logs', 'cal_train_time'), ('maskforge.analysis.logs', 'plot_curve'),
    ('maskforge.inference.interactive_vos', 'run'),
    ('maskforge.datasets.converters.video_lists', 'write_lists'),
    *((f'maskforge.datasets.converters.{name}', 'convert') for name in FORMATS)]


@pytest.mark.parametrize(('module', 'name'), ALL)
def test_is_described_as_the_function_itself(module, name):
    lazy, function = LazyFunction(module, name), getattr(importlib.import_module(module), name)
    found, wanted = (inspect.signature(one, eval_str=True).parameters for one in (lazy, function))
    assert [(p.name, p.kind, p.default) for p in found.values()] == [
        (p.name, p.kind, p.default) for p in wanted.values()]
    assert inspect.getdoc(lazy) == inspect.getdoc(function)
    for parameter in wanted.values():
        if 'Config' not in str(parameter.annotation):
            assert found[parameter.name].annotation == parameter.annotation


def test_is_imported_when_it_is_called(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, 'maskforge.formats.class_list', raising=False)
    read = LazyFunction('maskforge.formats.class_list', 'read_class_list')
    assert 'maskforge.formats.class_list' not in sys.modules
    (tmp_path / 'names.txt').write_text('a\nb\n')
    assert list(read(Path(tmp_path / 'names.txt'))) == ['a', 'b']
    with pytest.raises(ValueError, match='not enough values'):
        LazyFunction('maskforge.formats.class_list', 'no_such_function')
