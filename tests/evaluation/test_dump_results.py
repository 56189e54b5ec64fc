import json

import pytest

from maskforge.evaluation import DumpResults
from maskforge.registry import METRICS


@pytest.mark.parametrize('name', ['DumpResults', 'DumpDetResults'])
def test_writes_coco_results(perfect, meta, run, tmp_path, name):
    metric = METRICS.build(dict(type=name, out_file_path=str(tmp_path / 'out.json')))
    assert run(metric, perfect, meta) == {}
    rows = json.loads((tmp_path / 'out.json').read_text())
    assert len(rows) == sum(len(one.pred_instances) for one in perfect)
    assert set(rows[0]) == {'image_id', 'category_id', 'score', 'bbox', 'segmentation'}
    assert {row['category_id'] for row in rows} <= set(meta['category_ids'])


def test_boxes_only(perfect, meta, run, tmp_path):
    for one in perfect:
        del one.pred_instances.masks
    run(DumpResults(tmp_path / 'out.json'), perfect, meta)
    assert 'segmentation' not in json.loads((tmp_path / 'out.json').read_text())[0]


def test_pickles_are_refused():
    with pytest.raises(ValueError, match=r'must end in \.json'):
        DumpResults('out.pkl')
