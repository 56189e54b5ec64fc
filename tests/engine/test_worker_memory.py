import gc

from maskforge.engine.data_loading import build_dataloader


class _Frozen:
    """Each record is the number of objects that the process keeps out of garbage collection."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return gc.get_freeze_count()


def test_workers_leave_inherited_objects_alone():
    loader = build_dataloader(dict(dataset=_Frozen(), batch_size=2, num_workers=1, collate_fn=max,
                                   multiprocessing_context='fork', sampler=dict(type='default_sampler', shuffle=False)),
                              seed=0, evaluation=True)
    assert next(iter(loader)) > 10_000
    assert gc.get_freeze_count() < 10_000
