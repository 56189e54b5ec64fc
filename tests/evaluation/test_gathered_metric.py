import pickle
import sys

import pytest
import torch.distributed as torch_dist
import torch.multiprocessing as processes

from maskforge.evaluation import CocoMetric, VOCMetric


def test_repeated_images_count_once(ann_file, noisy, meta, run):
    once = run(CocoMetric(ann_file), noisy, meta)
    assert run(CocoMetric(ann_file), [*noisy, noisy[0], noisy[2]], meta, size=4) == once
    assert run(CocoMetric(ann_file), noisy[::-1], meta) == once


def test_fewer_images_than_records_is_said(ann_file, noisy, meta, run, monkeypatch):
    said = []
    monkeypatch.setattr('maskforge.evaluation.gathered_metric.print_log', lambda text, **kwargs: said.append(text))
    run(CocoMetric(ann_file), noisy[:2], meta, size=4)
    assert '2 different images were evaluated, but the data set has 4 records' in said[0]


def test_same_ids_from_different_sources(noisy, meta, run, with_truth, ann_file):
    samples = with_truth(noisy)
    once = run(VOCMetric(), samples, meta)
    copies = [one.clone() for one in samples]
    for one in copies:
        one.set_metainfo(dict(img_path=f'other/{one.img_path}'))
    assert run(VOCMetric(), samples + copies, meta)['pascal_voc/mAP'] != once['pascal_voc/mAP']
    with pytest.raises(ValueError, match='share an id'):
        run(CocoMetric(ann_file), samples + copies, meta)


def _rank(rank, folder, ann_file, samples, meta, shares):
    torch_dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    found = []
    for share, settings in shares:
        metric = CocoMetric(ann_file, ['bbox', 'segm'], **settings)
        metric.dataset_meta = meta
        metric.process(None, [samples[index].to_dict() for index in share[rank]])
        found.append(metric.evaluate(len(samples)))
    broken = CocoMetric(ann_file)
    broken.dataset_meta = dict(classes=('no', 'such', 'names'))
    broken.process(None, [samples[rank].to_dict()])
    try:
        broken.evaluate(4)
    except Exception as error:
        found.append(f'{type(error).__name__}: {error}')
    with open(f'{folder}/{rank}.pkl', 'wb') as file:
        pickle.dump(found, file)
    torch_dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == 'win32', reason='gloo over a file')
def test_two_processes_equal_one(ann_file, noisy, meta, run, tmp_path):
    """Contiguous, strided, padded and lopsided shares; through gloo and through files."""
    files = dict(collect_dir=str(tmp_path / 'shared'))
    shares = [(([0, 1], [2, 3]), {}), (([0, 2], [1, 3]), {}), (([0, 1, 2], [3, 0]), {}), (([], [0, 1, 2, 3]), {}),
              (([0], [1, 2, 3]), files)]
    expected = run(CocoMetric(ann_file, ['bbox', 'segm']), noisy, meta)
    processes.spawn(_rank, (str(tmp_path), str(ann_file), noisy, meta, shares), nprocs=2)
    first, second = (pickle.loads((tmp_path / f'{rank}.pkl').read_bytes()) for rank in range(2))
    assert first[:-1] == second[:-1] == [expected] * len(shares)
    # a failure on rank 0 ends the others too, instead of leaving them in the broadcast
    assert first[-1].startswith('ValueError: ') and "no category for class 'no'" in first[-1]
    assert second[-1].startswith('RuntimeError: evaluation failed on rank 0: ValueError')
