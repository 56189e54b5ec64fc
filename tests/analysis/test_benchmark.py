import pytest

from maskforge.analysis import benchmark


@pytest.mark.parametrize(('settings', 'images'), [
    (dict(task='inference', max_iter=3, batch_size=2, device='cpu'), 6),
    (dict(task='inference', max_iter=30, num_warmup=0, device='cpu'), 30),
    (dict(task='dataloader', max_iter=3, num_warmup=1), 6),
    (dict(task='dataloader', max_iter=99, num_warmup=0), 12),
    (dict(task='dataset', max_iter=5, num_warmup=2), 5),
    (dict(task='dataset', max_iter=5, split='test'), 5),
    (dict(task='inference', max_iter=2, fuse_conv_bn=True, device='cpu'), 2),
])
def test_tasks(shapes, settings, images):
    lines = []
    found = benchmark.run(shapes, repeat_num=2, report=lines.append, **settings)
    assert found['images'] == images and found['images_per_second'] > 0 and found['memory_mb'] > 10
    assert found['ms_per_image'] == pytest.approx(1000 / found['images_per_second'])
    assert lines[0].startswith('1 of 2: ') and f'over {images} images' in lines[2]


def test_time_of_every_transform(shapes):
    found = benchmark.run(shapes, task='dataset', max_iter=5, report=lambda line: None)
    assert list(found['ms_by_transform']) == ['get_data_info', '0 LoadAnnotations', '1 RandomFlip', '2 PackDetInputs']
    assert all(value > 0 for value in found['ms_by_transform'].values())


def test_wrapped_data_sets(shapes):
    shapes.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=shapes.train_dataloader.dataset)
    found = benchmark.run(shapes, task='dataset', max_iter=20, num_warmup=0, report=lambda line: None)
    assert found['images'] == 20 and list(found['ms_by_transform']) == ['whole sample']


@pytest.mark.parametrize(('settings', 'text'), [
    (dict(task='train'), 'inference, dataloader, dataset'), (dict(max_iter=0), 'max_iter=0'),
    (dict(task='dataset', num_warmup=50), 'nothing was measured')])
def test_wrong_settings(shapes, settings, text):
    with pytest.raises(ValueError, match=text):
        benchmark.run(shapes, **settings)
