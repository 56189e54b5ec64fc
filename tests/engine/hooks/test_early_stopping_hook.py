"""When a run ends early."""
import pytest

from maskforge.engine.hooks import EarlyStoppingHook


@pytest.mark.parametrize(('options', 'values', 'epochs'), [
    (dict(monitor='val_loss', patience=2, min_delta=0.0), [3, 2, 1, 1.5, 1.5, 0.5], 5),
    (dict(monitor='mAP', patience=1, min_delta=0.1), [0.1, 0.3, 0.35, 0.9], 3),
    (dict(monitor='mAP', patience=9), [0.1, 0.2, float('nan'), 0.3], 3),
    (dict(monitor='mAP', patience=9, check_finite=False, min_delta=0.0), [0.1, float('nan'), 0.3], 6),
    (dict(monitor='mAP', patience=9, stopping_threshold=0.5, min_delta=0.0), [0.1, 0.6, 0.7], 2),
    (dict(monitor='speed', rule='less', patience=1, min_delta=0.0), [3, 2, 2.5], 3),
    (dict(monitor='mAP', patience=5, min_delta=0.0), [0.1] * 3, 6),
])
def test_epoch_of_the_end(make_runner, options, values, epochs):
    runner = make_runner(EarlyStoppingHook(**options), epochs=6)
    runner.metrics = iter([{options['monitor']: value} for value in values])
    runner.train()
    assert runner.epoch == epochs


def test_missing_monitor(make_runner, caplog):
    runner = make_runner(EarlyStoppingHook('mAP'))
    runner.metrics = iter([{'coco/bbox_mAP': 0.1}])
    with pytest.raises(KeyError, match=r"'mAP', which the validation did not give. It gave: coco/bbox_mAP"):
        runner.train()
    runner = make_runner(EarlyStoppingHook('mAP', strict=False))
    runner.metrics = iter([{'coco/bbox_mAP': 0.1}] * 3)
    runner.train()
    assert sum('not among the metrics' in record.message for record in caplog.records) == 1


def test_validation_alone_changes_nothing(make_runner):
    make_runner(EarlyStoppingHook('mAP')).call_hook('before_test')


@pytest.mark.parametrize(('options', 'word'), [
    (dict(monitor='speed'), 'cannot be told'), (dict(monitor='mAP', rule='max'), "got 'max'"),
    (dict(monitor='mAP', patience=0), 'patience must be at least 1'),
])
def test_wrong_arguments(options, word):
    with pytest.raises(ValueError, match=word):
        EarlyStoppingHook(**options)
