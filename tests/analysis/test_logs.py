import json

import cv2
import numpy as np
import pytest

from maskforge.analysis.logs import cal_train_time, plot_curve, read_log


def write(folder, rows):
    file = folder / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('\n'.join(json.dumps(row) for row in rows) + '\n')
    return file


def training(start, stop, loss=2.0):
    return [dict(lr=0.01, data_time=0.1, loss=loss / step, loss_mask=1 / step, time=1.0 if step % 4 == 1 else 0.5,
                 epoch=1 + (step - 1) // 4, iter=step, memory=10, step=step) for step in range(start, stop)]


def validation(epoch, value):
    return {'coco/segm_mAP': value, 'coco/segm_mAP_s': -1.0, 'val_loss': 1.0, 'val_loss_mask': 0.5, 'data_time': 0.1,
            'time': 0.2, 'step': epoch}


@pytest.fixture
def work_dir(tmp_path):
    """A run that was resumed: the second log repeats steps 7 and 8 with other values."""
    write(tmp_path / '20260101_000000', [*training(1, 9), validation(1, 0.1), validation(2, 0.2)])
    write(tmp_path / '20260102_000000', [*training(7, 13, loss=4.0), validation(3, 0.3)])
    return tmp_path


def test_resumed_runs_are_joined(work_dir):
    rows = read_log(work_dir)
    assert [row['step'] for row in rows['train']] == list(range(1, 13))
    assert rows['train'][6]['loss'] == 4 / 7
    assert [row['coco/segm_mAP'] for row in rows['val']] == [0.1, 0.2, 0.3]
    # validations are placed at the iteration that they follow
    assert [row['iter'] for row in rows['val']] == [8, 8, 12]


@pytest.mark.parametrize('settings', [{}, dict(keys=['loss']), dict(keys=['coco/segm_mAP'], title='title'),
                                      dict(keys=['loss', 'time'], legend=['a', 'b'], smooth=3, start_epoch=2),
                                      dict(style='ggplot')])
def test_plot(work_dir, tmp_path, settings):
    out = plot_curve(work_dir, out=tmp_path / 'deep' / 'c.png', **settings)
    picture = cv2.imread(str(out))
    assert picture.std() > 5
    panels = 2 if 'keys' not in settings or 'time' in settings['keys'] else 1
    assert picture.shape[1] == 960 * panels


def test_every_setting_shows(work_dir, tmp_path):
    pictures = [cv2.imread(str(plot_curve(work_dir, out=tmp_path / f'{i}.png', keys=['loss'], **settings)))
                for i, settings in enumerate(({}, dict(title='t'), dict(legend=['x']), dict(start_epoch=2),
                                              dict(smooth=4), dict(style='ggplot')))]
    assert all(picture.shape != pictures[0].shape or (picture != pictures[0]).any() for picture in pictures[1:])


def test_default_curves_are_the_main_ones(work_dir, tmp_path):
    text = plot_curve(work_dir, out=tmp_path / 'c.svg').read_text()
    names = ('loss', 'loss_mask', 'val_loss', 'coco/segm_mAP', 'val_loss_mask', 'coco/segm_mAP_s', 'lr')
    shown = [name for name in names if f'<!-- {name} -->' in text]
    assert shown == ['loss', 'loss_mask', 'val_loss', 'coco/segm_mAP']


def test_several_runs(work_dir, tmp_path):
    file = work_dir / '20260101_000000' / 'vis_data' / 'scalars.json'
    assert plot_curve([work_dir, file], keys=['loss'], out=tmp_path / 'c.svg').read_text().count('scalars.json loss')


def test_train_time(work_dir):
    found, = cal_train_time(work_dir)
    assert found['average_iter_time'] == pytest.approx(0.5)
    everything, = cal_train_time(work_dir, include_outliers=True)
    assert everything['average_iter_time'] == pytest.approx(0.625)
    assert everything['slowest_epoch'] == (1, 0.625) and everything['std_over_epochs'] == 0


@pytest.mark.parametrize(('settings', 'error', 'text'), [
    (dict(keys=['loss_maks']), KeyError, 'Did you mean loss_mask'),
    (dict(keys=['loss'], legend=['a', 'b']), ValueError, '2 names for 1 curves'),
])
def test_wrong_settings(work_dir, settings, error, text):
    with pytest.raises(error, match=text):
        plot_curve(work_dir, **settings)


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='no log there'):
        plot_curve(tmp_path / 'nowhere')
    (tmp_path / 'x.log').write_text('{"lr": 1, "step": 1}\n2026/01/01 - INFO\n')
    with pytest.raises(ValueError, match=r'x\.log, line 2: not JSON'):
        plot_curve(tmp_path / 'x.log')
    (tmp_path / 'y.json').write_text(json.dumps(validation(1, 0.5)))
    with pytest.raises(ValueError, match='no training times'):
        cal_train_time(tmp_path / 'y.json')
    assert np.isfinite(read_log(tmp_path / 'y.json')['val'][0]['coco/segm_mAP'])
