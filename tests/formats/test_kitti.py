import pytest

from maskforge.formats.kitti import KittiObject, format_kitti_line, read_kitti_labels, write_kitti_labels

ZEROS = '0.00 0.00 0.00 0.00 0.00 0.00 0.00'


def test_line_with_a_score_has_sixteen_columns():
    line = format_kitti_line(KittiObject('car', (1, 2.5, 30.25, 40), score=0.87654))
    assert line == f'car 0.00 0 0.00 1.000 2.500 30.250 40.000 {ZEROS} 0.877' and len(line.split()) == 16


def test_line_without_a_score_has_fifteen_columns():
    line = format_kitti_line(KittiObject('car', (1, 2, 3, 4), truncated=0.5, occluded=2, alpha=-1.57,
                                         dimensions=(1, 2, 3), location=(4, 5, 6), rotation_y=3.1))
    assert line == 'car 0.50 2 -1.57 1.000 2.000 3.000 4.000 1.00 2.00 3.00 4.00 5.00 6.00 3.10'


def test_written_files_are_read_back(tmp_path):
    records = [KittiObject('traffic light', (1.0, 2.0, 3.5, 4.25), score=0.5),
               KittiObject('Person Group 2', (0.0, 0.0, 9.0, 9.0), occluded=1)]
    path = write_kitti_labels(tmp_path / 'labels' / 'a.txt', records)
    assert [line.split()[0] for line in path.read_text().splitlines()] == ['traffic_light', 'Person_Group_2']
    found = read_kitti_labels(path, classes=['person group 2', 'traffic light'])
    assert [record.name for record in found] == ['traffic light', 'person group 2']
    assert [(record.box, record.score, record.occluded) for record in found] == \
        [(record.box, record.score, record.occluded) for record in records]
    assert read_kitti_labels(write_kitti_labels(tmp_path / 'empty.txt', [])) == []


@pytest.mark.parametrize(('name', 'score'), [
    ('car', ''), ('car', ' 0.9'), ('Person Group', ''), ('traffic light', ' 0.25'), ('class 7', ''), ('7', ' 0.5')])
def test_names_of_several_words(name, score, tmp_path):
    (tmp_path / 'a.txt').write_text(f'{name} 0.00 0 0.00 1 2 3 4 {ZEROS}{score}\n\n')
    record, = read_kitti_labels(tmp_path / 'a.txt')
    assert record.name == name and record.box == (1, 2, 3, 4)
    assert record.score == (float(score) if score else None)
    assert record.place.endswith('a.txt, line 1')


@pytest.mark.parametrize(('text', 'message'), [
    (f'car 0.00 0 0.00 1 2 3 {ZEROS}', r'a\.txt, line 1 has 14 columns, 13 numbers .* 15 .* or 16 with a score'),
    (f'\ncar 0.00 0 0.00 1 2 three 4 {ZEROS}', 'line 2 has 15 columns, 8 numbers'),
    (f'car 0.00 0 0.00 1 2 nan 4 {ZEROS}', r'line 1 \(car\) has a number that is not finite')])
def test_bad_lines(text, message, tmp_path):
    (tmp_path / 'a.txt').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_kitti_labels(tmp_path / 'a.txt')


def test_missing_file(tmp_path):
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(FileNotFoundError, match=r'KITTI label file .*b\.txt does not exist'):
        read_kitti_labels(tmp_path / 'b.txt')


@pytest.mark.parametrize('record', [KittiObject(' ', (0, 0, 1, 1)), KittiObject('car', (0, 0, float('inf'), 1))])
def test_records_that_cannot_be_written(record, tmp_path):
    with pytest.raises(ValueError, match='a class name and finite numbers are needed'):
        write_kitti_labels(tmp_path / 'a.txt', [record])
    assert not list(tmp_path.iterdir())
