import pytest

from maskforge.evaluation import ClassMap

CATEGORIES = [dict(id=5, name='cat'), dict(id=2, name='dog'), dict(id=9, name='car')]


@pytest.mark.parametrize(('meta', 'names', 'ids'), [
    (None, ('dog', 'cat', 'car'), (2, 5, 9)),
    (dict(classes=('dog', 'car')), ('dog', 'car'), (2, 9)),
    (dict(classes=('dog', 'car'), category_ids=(2, 9)), ('dog', 'car'), (2, 9)),
    # renamed classes keep their ids
    (dict(classes=('Hund', 'Auto'), category_ids=(2, 9)), ('Hund', 'Auto'), (2, 9)),
    # ids of another file: names decide
    (dict(classes=('dog', 'car'), category_ids=(0, 1)), ('dog', 'car'), (2, 9)),
    (dict(classes=('dog', 'car'), category_ids=(9, 2)), ('dog', 'car'), (2, 9)),
    (dict(category_ids=(9, 5)), ('car', 'cat'), (9, 5)),
    # one row per id, as official 91-row heads have
    (dict(category_ids=(1, 2, 3)), ('1', 'dog', '3'), (1, 2, 3)),
])
def test_match(meta, names, ids):
    found = ClassMap.match(meta, CATEGORIES, source='file.json')
    assert (found.names, found.ids) == (names, ids)


@pytest.mark.parametrize(('meta', 'text'), [
    (dict(classes=('cat', 'dgo')), "file.json: no category for class 'dgo'. Did you mean dog"),
    (dict(category_ids=(100, 101)), 'no category for class 100 and 1 more'),
])
def test_mismatch(meta, text):
    with pytest.raises(ValueError, match=text):
        ClassMap.match(meta, CATEGORIES, source='file.json')


def test_from_meta():
    assert ClassMap.from_meta(dict(classes=('a', 'b'))).ids == (1, 2)
    with pytest.raises(ValueError, match='neither classes nor category_ids'):
        ClassMap.from_meta({})
