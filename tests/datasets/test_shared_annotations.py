import json
import os
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from maskforge.datasets import CocoDataset


class _Memory(CocoDataset):
    """Reports by how much the private memory of a process grows when it reads all records, in KiB."""

    def __getitem__(self, idx):
        # what the process had before is the test run's, not the data set's
        before = _private()
        for index in range(len(self)):
            self.get_data_info(index)
        return os.getpid(), _private() - before


def _private() -> int:
    text = Path('/proc/self/smaps_rollup').read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith('Private'))


@pytest.mark.skipif(not os.path.exists('/proc/self/smaps_rollup'), reason='needs Linux')
def test_workers_share_one_copy(tmp_path):
    images = [dict(id=i, file_name=f'{i}.jpg', height=100, width=100) for i in range(1000)]
    polygon = [float(value % 90) for value in range(600)]
    annotations = [dict(id=i, image_id=i % 1000, category_id=1, bbox=[0, 0, 90, 90], segmentation=[polygon])
                   for i in range(6000)]
    data = dict(images=images, annotations=annotations, categories=[dict(id=1, name='a')])
    (tmp_path / 'a.json').write_text(json.dumps(data))
    dataset = _Memory(ann_file=str(tmp_path / 'a.json'))
    size = dataset.data_bytes.nbytes / 1024
    assert size > 12_000  # KiB
    loader = DataLoader(dataset, num_workers=2, sampler=[0, 1], batch_size=None, multiprocessing_context='fork')
    for process, grown in loader:
        assert process != os.getpid() and grown < size / 2, f'{grown} KiB beside {size:.0f} KiB of annotations'
