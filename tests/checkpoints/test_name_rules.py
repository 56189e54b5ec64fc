import pytest

from maskforge.checkpoints.name_rules import COCO_IDS, inverse_rules, rename

RULES = [(r'net\.(\d+)\.a\.(.+)', 'ours.{0}.first.{1}'), (r'net\.(.+)', 'ours.{0}'),
         (r'x\.(\d+)\.(weight|bias)', '{1}.of.{0}')]


@pytest.mark.parametrize(('theirs', 'ours'), [
    ('net.3.a.weight', 'ours.3.first.weight'), ('net.3.b.weight', 'ours.3.b.weight'), ('x.2.bias', 'bias.of.2'),
    ('x.2.other', 'x.2.other'), ('another', 'another')])
def test_both_directions(theirs, ours):
    assert rename(theirs, RULES) == ours
    assert rename(ours, inverse_rules(RULES)) == theirs


def test_coco_ids():
    assert len(COCO_IDS) == 80 and COCO_IDS[0] == 1 and COCO_IDS[-1] == 90 and 12 not in COCO_IDS
