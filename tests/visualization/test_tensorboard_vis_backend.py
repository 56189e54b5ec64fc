"""TensorBoard: numbers arrive, and a missing package is explained."""
import importlib.util
import warnings

import pytest

from maskforge.visualization import TensorboardVisBackend


def test_numbers_arrive_and_texts_do_not_warn(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    backend = TensorboardVisBackend(str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        backend.add_scalars(dict(loss=0.5, text='a table'), step=3)
    backend.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()['scalars'] == ['loss']
    assert [(event.step, event.value) for event in events.Scalars('loss')] == [(3, 0.5)]


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'pip install maskforge\[tracking\]'):
        TensorboardVisBackend(str(tmp_path)).add_scalar('loss', 1.0)
