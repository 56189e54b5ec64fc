"""Seeds and skipping for samplers that know of neither."""
import pickle

import pytest
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from maskforge.engine.data_loading import batch_size_of, build_dataloader, skip_batches
from maskforge.engine.keyed_sampler import KeyedSampler, SkippingBatchSampler, sample_seed
from maskforge.engine.seeded_dataset import SeededDataset
from maskforge.structures import SampleKey, sample_rng


class Numbers:
    metainfo = dict(classes=('a',))

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, int(sample_rng().integers(1 << 30))


def test_seeds_differ_in_every_argument():
    seeds = {sample_seed(seed, epoch, place) for seed in range(20) for epoch in range(20) for place in range(20)}
    assert len(seeds) == 8000 and all(0 <= seed < 2**63 for seed in seeds)


def test_skipping_continues_the_same_stream():
    sampler = KeyedSampler(SequentialSampler(range(10)), seed=3)
    whole = list(sampler)
    sampler.start = 4
    assert list(sampler) == whole[4:]
    assert list(sampler) == whole  # once only
    sampler.set_epoch(1)
    assert [key.index for key in sampler] == list(range(10)) and list(sampler) != whole


def test_batches_are_skipped():
    batches = SkippingBatchSampler(BatchSampler(SequentialSampler(range(10)), 3, False))
    batches.start_batch = 2
    assert list(batches) == [[6, 7, 8], [9]]
    assert len(list(batches)) == 4 and batches.batch_size == 3


def test_seeded_dataset():
    dataset = SeededDataset(Numbers(), length=7)
    assert len(dataset) == 7 and dataset.metainfo['classes'] == ('a',)
    assert dataset[SampleKey(2, 5)] == dataset[SampleKey(2, 5)] != dataset[SampleKey(2, 6)]
    assert pickle.loads(pickle.dumps(dataset))[SampleKey(2, 5)] == dataset[SampleKey(2, 5)]
    assert not hasattr(dataset, 'nonsense')


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_samples_do_not_depend_on_the_workers(workers):
    loader = DataLoader(SeededDataset(Numbers()), sampler=KeyedSampler(SequentialSampler(range(10)), seed=1),
                        batch_size=4, num_workers=workers, collate_fn=list)
    samples = [sample for batch in loader for sample in batch]
    assert samples == [SeededDataset(Numbers())[key] for key in KeyedSampler(SequentialSampler(range(10)), seed=1)]


def test_a_loader_from_outside_cannot_skip():
    loader = DataLoader(Numbers(), batch_size=2)
    assert skip_batches(loader, 0) and not skip_batches(loader, 3)


@pytest.mark.parametrize('pin_memory', [False, pytest.param(True, marks=pytest.mark.gpu)])
def test_pin_memory(pin_memory):
    cfg = dict(dataset=Numbers(), batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False),
               collate_fn=dict(type='default_collate'), pin_memory=pin_memory)
    numbers, _ = next(iter(build_dataloader(cfg, seed=0)))
    assert numbers.is_pinned() == pin_memory


@pytest.mark.parametrize(('loader', 'size'), [
    (dict(batch_size=3), 3), (dict(batch_sampler=dict(batch_size=5)), 5), (DataLoader(Numbers(), batch_size=4), 4)])
def test_batch_size(loader, size):
    assert batch_size_of(loader) == size


def test_batch_size_that_nobody_gave():
    with pytest.raises(ValueError, match=r'train_dataloader\.batch_size'):
        batch_size_of(dict())
