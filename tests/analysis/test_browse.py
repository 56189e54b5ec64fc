import re

import pytest

from maskforge.analysis import browse
from maskforge.structures import seeded_sample


def captions(path):
    return re.findall(r'<figcaption>(.*?)</figcaption>', path.read_text())


def test_page(shapes, tmp_path):
    path = browse.run(shapes, output_dir=tmp_path, number=5)
    assert path == tmp_path / 'index.html'
    found = captions(path)
    assert len(found) == 5 and len(set(found)) == 5
    assert all('(64 x 64)' in caption for caption in found)
    text = path.read_text()
    assert '5 of 12 samples' in text and 'data-tag="star"' in text


def test_choice_follows_the_seed(shapes, tmp_path):
    first, again, other = (captions(browse.run(shapes, output_dir=tmp_path / str(i), number=5, seed=seed))
                           for i, seed in enumerate((0, 0, 1)))
    assert first == again != other
    ordered = captions(browse.run(shapes, output_dir=tmp_path / 'o', number=3, shuffle=False))
    assert [caption.split(':')[0] for caption in ordered] == ['0', '1', '2']


def test_same_seed_same_pictures(shapes, tmp_path):
    texts = [browse.run(shapes, output_dir=tmp_path / str(i), number=4, seed=3).read_text() for i in range(2)]
    assert texts[0] == texts[1]


def test_augmentation_shows(shapes, tmp_path):
    """The same records look different with another seed: flips are drawn."""
    texts = [browse.run(shapes, output_dir=tmp_path / str(seed), number=12, shuffle=False, seed=seed).read_text()
             for seed in (0, 1)]
    assert texts[0] != texts[1]


def test_files_beside_the_page(shapes, tmp_path):
    browse.run(shapes, output_dir=tmp_path, number=2, embed=False)
    assert len(list((tmp_path / 'index_files').iterdir())) == 2


def test_test_split(shapes, tmp_path):
    assert len(captions(browse.run(shapes, output_dir=tmp_path, split='test', number=99))) == 12


@pytest.mark.parametrize(('split', 'error', 'text'), [
    ('trian', ValueError, 'train, val, test'), ('val', KeyError, 'no val_dataloader')])
def test_wrong_split(shapes, tmp_path, split, error, text):
    with pytest.raises(error, match=text):
        browse.run(shapes, output_dir=tmp_path, split=split)


def test_options_need_a_file(shapes, tmp_path):
    with pytest.raises(ValueError, match='change the Config itself'):
        browse.run(shapes, output_dir=tmp_path, options=['a=1'])


def test_seeds_are_left_alone(shapes, tmp_path):
    with seeded_sample(1) as rng:
        expected = rng.random()
    with seeded_sample(1) as rng:
        browse.run(shapes, output_dir=tmp_path, number=1)
        assert rng.random() == expected
