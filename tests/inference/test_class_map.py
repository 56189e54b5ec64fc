"""Class names from a text file."""
import json

import pytest

from maskforge.inference import Inferencer, run_inference
from maskforge.inference.class_map import named_by


class Model:
    def __init__(self, **meta):
        self.dataset_meta = meta


@pytest.mark.parametrize(('meta', 'names', 'expected', 'ids'), [
    (dict(classes=('cat', 'dog'), category_ids=(17, 18)), 'Katze\nHund\n', ('Katze', 'Hund'), (17, 18)),
    (dict(classes=('unused_0', 'cat'), category_ids=(0, 1)), 'Katze\n', ('unused_0', 'Katze'), (0, 1)),
    ({}, 'a\nb\nc\n', ('a', 'b', 'c'), (1, 2, 3)),
])
def test_names(tmp_path, meta, names, expected, ids):
    (tmp_path / 'map.txt').write_text(names)
    found = named_by(tmp_path / 'map.txt', Model(**meta))
    assert (found['classes'], found['category_ids']) == (expected, ids)
    assert named_by(None, Model(**meta)) == meta


@pytest.mark.parametrize('names', ['Katze\n', 'a\nb\nc\n'])
def test_another_number_of_names_is_an_error(tmp_path, names):
    (tmp_path / 'map.txt').write_text(names)
    with pytest.raises(ValueError, match=r'map.txt has \d names, but the model has 2 classes'):
        named_by(tmp_path / 'map.txt', Model(classes=('cat', 'dog')))


def test_results_carry_the_names(toy, photos, tmp_path):
    (tmp_path / 'map.txt').write_text('Katze\nHund\n')
    path = run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'out', device='cpu', labels=True,
                         classmap=tmp_path / 'map.txt')
    assert [entry['name'] for entry in json.loads(path.read_text())['categories']] == ['Katze', 'Hund']
    words = {line.split()[0] for file in path.parent.rglob('*.txt') for line in file.read_text().splitlines()}
    assert words and words <= {'Katze', 'Hund'}
    assert Inferencer(toy / 'toy.pth', device='cpu', classmap=tmp_path / 'map.txt').dataset_meta['classes'] == (
        'Katze', 'Hund')
