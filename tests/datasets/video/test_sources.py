"""Layouts of video data: what is read, what is left out, what is refused."""
import json

import cv2
import numpy as np
import pytest

from maskforge.datasets.video import (
    CocoRawDataset,
    JSONRawDataset,
    PNGRawDataset,
    SA1BRawDataset,
    YouTubeVOSRawDataset,
)
from maskforge.datasets.video.video_source import Names
from maskforge.formats import rle
from maskforge.formats.palette_png import write_palette_png


def _png(root, **changes) -> PNGRawDataset:
    return PNGRawDataset('JPEGImages', 'Annotations', data_root=str(root), **changes)


def _names(source) -> list[str]:
    return [source.names[index] for index in range(len(source))]


def _numbers(video) -> list[int]:
    return [frame.number for frame in video.frames]


def test_palette_png(davis):
    source = _png(davis)
    assert _names(source) == ['bear', 'cat.v1.2', 'dog'] and not source.is_image
    video = source.video(1)
    assert _numbers(video) == [0, 1, 2, 3, 4, 5] and video.frames[2].path.endswith('cat.v1.2/00002.png')
    assert video.segments.visible(video.frames[0]) == [1, 2]
    mask = video.segments.segment(video.frames[3], 2)
    assert mask.dtype == bool and np.argwhere(mask).min(0).tolist() == [8, 12] and mask.sum() == 16


@pytest.mark.parametrize(('changes', 'frames'), [
    (dict(sample_rate=2), [0, 2, 4]), (dict(truncate_video=3), [0, 1, 2]),
    (dict(sample_rate=2, truncate_video=4), [0, 2])])
def test_frames_that_are_taken(davis, changes, frames):
    assert _numbers(_png(davis, **changes).video(0)) == frames


@pytest.mark.parametrize('suffix', ['.jpg', '.PNG', '.webp', '.bmp'])
def test_any_kind_of_image(tmp_path, write_video, suffix):
    write_video(tmp_path, 'a', suffix=suffix)
    video = _png(tmp_path).video(0)
    assert len(video.frames) == 6 and video.segments.visible(video.frames[5]) == [1, 2]


def test_frame_names_that_are_no_numbers(tmp_path, write_video):
    write_video(tmp_path, 'a', names=[f'shot_{number}' for number in 'abcdef'])
    video = _png(tmp_path).video(0)
    assert _numbers(video) == [0, 1, 2, 3, 4, 5] and video.segments.visible(video.frames[1]) == [1, 2]


def test_numbers_are_ordered_as_numbers(tmp_path, write_video):
    write_video(tmp_path, 'a', names=['8', '9', '10', '11', '100', '101'])
    assert _numbers(_png(tmp_path).video(0)) == [8, 9, 10, 11, 100, 101]


@pytest.mark.parametrize(('listed', 'excluded', 'names'), [
    (['dog', 'cat.v1.2'], None, ['dog', 'cat.v1.2']),
    (['dog.mp4', '', 'cat.v1.2.json '], None, ['dog', 'cat.v1.2']),
    (None, [['bear'], ['dog.mp4']], ['cat.v1.2']),
    ([['dog'], ['bear']], ['bear'], ['dog'])])
def test_lists_of_names(davis, listed, excluded, names):
    def paths(given, kind):
        if given is None:
            return None
        several = given if isinstance(given[0], list) else [given]
        for number, lines in enumerate(several):
            (davis / f'{kind}{number}.txt').write_text('\n'.join(lines))
        found = [f'{kind}{number}.txt' for number in range(len(several))]
        return found if isinstance(given[0], list) else found[0]
    source = _png(davis, file_list_txt=paths(listed, 'used'), excluded_videos_list_txt=paths(excluded, 'out'))
    assert _names(source) == names


@pytest.mark.parametrize(('lines', 'message'), [
    ('bear\ncat.v12\nowl', r'names 2 of 3 that .*JPEGImages does not have: cat.v12 \(did you mean cat.v1.2\?\), owl'),
    ('\n', 'used.txt is empty; a list has one name a line')])
def test_lists_that_do_not_fit(davis, lines, message):
    (davis / 'used.txt').write_text(lines)
    with pytest.raises(ValueError, match=message):
        _png(davis, file_list_txt='used.txt')
    with pytest.raises(FileNotFoundError, match=r'did you mean used.txt'):
        _png(davis, file_list_txt='use.txt')


def test_excluding_what_is_not_there_is_said(davis, engine_log):
    (davis / 'out.txt').write_text('dogs\nbear')
    assert _names(_png(davis, excluded_videos_list_txt='out.txt')) == ['cat.v1.2', 'dog']
    assert any('excludes 1 names' in line and 'did you mean dog' in line for line in engine_log)
    (davis / 'out.txt').write_text('dog\nbear\ncat.v1.2')
    with pytest.raises(ValueError, match='none of 3 names is left'):
        _png(davis, excluded_videos_list_txt='out.txt')


def test_videos_without_annotations_are_left_out(davis, engine_log):
    (davis / 'JPEGImages' / 'extra').mkdir()
    assert 'extra' not in _names(_png(davis))
    assert any('1 of 4 videos' in line and 'extra' in line for line in engine_log)


def test_listed_videos_without_annotations_are_left_out(davis, engine_log):
    (davis / 'JPEGImages' / 'extra').mkdir()
    (davis / 'used.txt').write_text('extra\ndog')
    assert _names(_png(davis, file_list_txt='used.txt')) == ['dog']
    assert any('1 of 2 videos' in line and 'extra' in line for line in engine_log)
    (davis / 'used.txt').write_text('extra')
    with pytest.raises(ValueError, match=r'none of the 1 videos of .* for extra that would be .*Annotations/extra'):
        _png(davis, file_list_txt='used.txt')


def test_repeats_by_frames(davis, write_video):
    write_video(davis, 'eel', frames=2)
    source = _png(davis, frames_sampling_mult=True)
    assert len(source) == 3 * 6 + 2 and _names(source)[-2:] == ['eel', 'eel'] and _names(source)[:6] == ['bear'] * 6


@pytest.fixture
def objects(davis):
    """The masks of bear as one folder an object, 3 and 7, each second frame; 7 is absent from the first one."""
    root = davis / 'Objects' / 'bear'
    for folder, number in (('003', 1), ('007', 2)):
        for frame in range(0, 6, 2):
            video = _png(davis).video(0)
            if (folder, frame) != ('007', 0):
                write_palette_png(video.segments.segment(video.frames[frame], number),
                                  root / folder / f'{frame:05d}.png')
    return davis


def _objects(root, **changes) -> PNGRawDataset:
    return PNGRawDataset('JPEGImages', 'Objects', data_root=str(root), is_palette=False, **changes)


def test_one_folder_an_object(objects):
    video = _objects(objects).video(0)
    assert _numbers(video) == [0, 2, 4] and video.segments.object_ids == [3, 7]
    assert [video.segments.visible(frame) for frame in video.frames] == [[3], [3, 7], [3, 7]]
    assert video.segments.segment(video.frames[0], 7) is None
    assert video.segments.segment(video.frames[1], 7).sum() == 16
    assert _numbers(_objects(objects).video(0, whole=True)) == [0, 1, 2, 3, 4, 5]


def test_missing_masks(objects):
    video = _objects(objects, missing_masks='error').video(0)
    with pytest.raises(ValueError, match=r"object 7 of .*bear has no mask of frame 00000.*missing_masks='empty'"):
        video.segments.visible(video.frames[0])
    with pytest.raises(ValueError, match=r"3 of 6 frames have no mask, first .*00001.png.*'drop'"):
        _objects(objects, unannotated_frames='error').video(0)
    every = _objects(objects, unannotated_frames='empty').video(0)
    assert _numbers(every) == [0, 1, 2, 3, 4, 5] and every.segments.visible(every.frames[1]) == []


def test_missing_palette_masks(tmp_path, write_video):
    write_video(tmp_path, 'a', masked=(0, 3))
    with pytest.raises(ValueError, match=r'4 of 6 frames have no mask, first .*a/00001.png: .*Annotations/a/00001.png '
                                         'does not exist'):
        _png(tmp_path).video(0)
    assert _numbers(_png(tmp_path, unannotated_frames='drop').video(0)) == [0, 3]
    every = _png(tmp_path, unannotated_frames='empty').video(0)
    assert every.segments.visible(every.frames[1]) == [] and every.segments.segment(every.frames[1], 1) is None
    with pytest.raises(ValueError, match="unannotated_frames='skip' must be one of error, drop, empty"):
        _png(tmp_path, unannotated_frames='skip')


def test_single_objects(objects):
    source = _objects(objects, single_object_mode=True)
    assert _names(source) == ['bear/3', 'bear/7']
    video = source.video(1)
    assert video.segments.object_ids == [7] and _numbers(video) == [2, 4]
    with pytest.raises(ValueError, match=r'single_object_mode=True needs the ids'):
        _png(objects, single_object_mode=True)


@pytest.mark.parametrize(('name', 'message'), [
    ('car', 'car: the folder of an object must be named by its id'), ('3', r'3 are the same object')])
def test_object_ids_are_numbers(objects, name, message):
    (objects / 'Objects' / 'bear' / name).mkdir()
    with pytest.raises(ValueError, match=message):
        _objects(objects).video(0)


def test_layouts_that_are_mixed_up(objects):
    with pytest.raises(ValueError, match='is_palette=False'):
        PNGRawDataset('JPEGImages', 'Objects', data_root=str(objects)).video(0)
    with pytest.raises(FileNotFoundError, match='is_palette=True'):
        PNGRawDataset('JPEGImages', 'Annotations', data_root=str(objects), is_palette=False).video(0)


def test_youtube_vos(tmp_path, write_video):
    write_video(tmp_path, 'a', masked=(0, 5))
    assert YouTubeVOSRawDataset('JPEGImages', 'Annotations', data_root=str(tmp_path)).video(0).segments.visible(
        _png(tmp_path, unannotated_frames='drop').video(0).frames[0]) == [1, 2]
    (tmp_path / 'meta.json').write_text(json.dumps(dict(videos=dict(a=dict(objects={'2': dict(category='cat')})))))
    source = YouTubeVOSRawDataset('JPEGImages', 'Annotations', data_root=str(tmp_path))
    video = source.video(0)
    assert _numbers(video) == [0, 5] and video.segments.object_ids == [2]
    assert video.segments.visible(video.frames[1]) == [2]
    single = YouTubeVOSRawDataset('JPEGImages', 'Annotations', data_root=str(tmp_path), single_object_mode=True)
    assert _names(single) == ['a/2']
    (tmp_path / 'meta.json').write_text(json.dumps(dict(videos=dict(a=dict(objects={'2': {}, 'x': {}})))))
    with pytest.raises(ValueError, match=r"meta.json, video a: 'objects' must be named by their ids.*\['2', 'x'\]"):
        YouTubeVOSRawDataset('JPEGImages', 'Annotations', data_root=str(tmp_path))


def _sav(root, **changes) -> JSONRawDataset:
    return JSONRawDataset('frames', 'json', data_root=str(root), **changes)


def test_sav(tmp_path, write_sav):
    write_sav(tmp_path)
    video = _sav(tmp_path).video(0)
    assert _numbers(video) == [0, 2, 4, 6] and video.segments.object_ids == [4, 7]
    assert video.segments.visible(video.frames[1]) == [4, 7]
    mask = rle.decode(video.segments.segment(video.frames[1], 7))
    assert np.argwhere(mask).min(0).tolist() == [8, 10]
    assert _numbers(_sav(tmp_path, sample_rate=4).video(0)) == [0, 4]


def test_other_annotation_files(tmp_path, write_sav):
    write_sav(tmp_path)
    with pytest.raises(ValueError, match=r'none of the 1 videos .*sav_1_auto.json'):
        _sav(tmp_path, suffix='_auto.json')
    (tmp_path / 'json' / 'sav_1_manual.json').rename(tmp_path / 'json' / 'sav_1_auto.json')
    assert _numbers(_sav(tmp_path, suffix='_auto.json').video(0)) == [0, 2, 4, 6]
    with pytest.raises(ValueError, match='cached_files=0'):
        _sav(tmp_path, suffix='_auto.json', cached_files=0)


def test_sav_rates(tmp_path, write_sav):
    write_sav(tmp_path, 'rate')
    assert _numbers(_sav(tmp_path, frames_fps=48).video(0)) == [0, 4]  # 48 / 12: every fourth frame
    with pytest.raises(ValueError, match=r'rate_manual.json: annotations at fps=12.0 do not fall on .*frames_fps=20'):
        _sav(tmp_path, frames_fps=20).video(0)
    write_sav(tmp_path, 'bare', change=lambda data: data['masklet'])
    assert _numbers(_sav(tmp_path, ann_every=2).video(0)) == [0, 2, 4, 6]
    assert _numbers(_sav(tmp_path).video(0)) == [0, 1, 2, 3]
    assert _sav(tmp_path, ann_every=2).video(0).segments.object_ids == [0, 1]
    write_sav(tmp_path, 'list', change=lambda data: dict(masks=data['masklet'], fps=[6]))
    source = _sav(tmp_path, ann_every=2)
    assert _names(source)[1] == 'list' and _numbers(source.video(1)) == [0, 4]


def test_sav_unannotated(tmp_path, write_sav):
    def change(data):
        data['masklet'][1][0] = None
        data['masklet'][2] = None
        return data
    write_sav(tmp_path, change=change)
    assert _numbers(_sav(tmp_path).video(0)) == [0, 6]
    every = _sav(tmp_path, rm_unannotated=False).video(0)
    assert _numbers(every) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [every.segments.visible(frame) for frame in every.frames[:5]] == [[4, 7], [], [7], [], []]


def test_sav_files_are_parsed_once(tmp_path, write_sav, monkeypatch):
    for number in range(3):
        write_sav(tmp_path, f'v{number}')
    source, parsed = _sav(tmp_path, cached_files=2), []
    load = type(source.video(0).segments.annotations).load
    monkeypatch.setattr('maskforge.datasets.video.sav_source.SavJson.load',
                        lambda path, **given: parsed.append(path.name[:2]) or load(path, **given))
    source._parsed.clear()
    for index in (0, 0, 1, 0, 2, 0, 1):
        source.video(index)
    assert parsed == ['v0', 'v1', 'v2', 'v1'] and len(source._parsed) == 2


@pytest.mark.parametrize(('change', 'message'), [
    (lambda data: {**data, 'masklet_id': [4, '7']}, "'masklet_id' are of type int and str"),
    (lambda data: {**data, 'masklet_id': [4, 4]}, r"'masklet_id' has 2 ids \(1 different ones\) for 2 objects"),
    (lambda data: {**data, 'masklet': [data['masklet'][0], data['masklet'][1][:1]]}, 'different numbers of objects'),
    (lambda data: dict(boxes=[]), "neither 'masklet' nor 'masks'; its keys: boxes"),
    (lambda data: {**data, 'masklet': [5]}, 'a list of frames is needed'),
    (lambda data: {**data, 'masklet': [[None, None]]}, r'sav_1 has no annotated frames')])
def test_broken_sav_files(tmp_path, write_sav, change, message):
    write_sav(tmp_path, change=change)
    with pytest.raises(ValueError, match=message):
        _sav(tmp_path).video(0)


def test_broken_rle_is_named(tmp_path, write_sav):
    def change(data):
        data['masklet'][1][1]['counts'] = 'abc'
        return data
    write_sav(tmp_path, change=change)
    video = _sav(tmp_path).video(0)
    with pytest.raises(ValueError, match=r'sav_1_manual.json, frame 2, object 7: RLE'):
        video.segments.visible(video.frames[1])


def _sa1b(root, **changes) -> SA1BRawDataset:
    return SA1BRawDataset('img', 'img', data_root=str(root), **changes)


def test_sa1b(tmp_path, write_sa1b):
    write_sa1b(tmp_path)
    write_sa1b(tmp_path, 'sa_2.x', suffix='.webp')
    source = _sa1b(tmp_path, num_frames=2)
    assert _names(source) == ['sa_1.jpg', 'sa_2.x.webp'] and source.is_image
    video = source.video(1)
    assert video.name == 'sa_2.x' and len({frame.path for frame in video.frames}) == 1 and len(video.frames) == 2
    assert video.segments.visible(video.frames[0]) == [1, 2, 3]  # the fourth mask is empty
    assert _sa1b(tmp_path, mask_area_frac_thresh=0.9).video(0).segments.object_ids == [1, 2]
    (tmp_path / 'used.txt').write_text('sa_2.x')
    assert _names(_sa1b(tmp_path, file_list_txt='used.txt')) == ['sa_2.x.webp']


def test_sa1b_quality(tmp_path, write_sa1b, engine_log):
    write_sa1b(tmp_path)
    found = _sa1b(tmp_path, uncertain_iou=0.65, iou_key='predicted_iou').video(0).segments.object_ids
    assert found == [2, 3] and not engine_log
    source = _sa1b(tmp_path, uncertain_iou=0.65)
    assert source.video(0).segments.object_ids == [1, 2, 3] and source.video(0)
    assert sum("have no 'uncertain_iou'" in line for line in engine_log) == 1


def test_sa1b_without_masks(tmp_path, write_sa1b):
    write_sa1b(tmp_path, change=lambda records: records[3:])
    with pytest.raises(ValueError, match=r'sa_1.json: image sa_1 has no mask that can be used \(1 annotations'):
        _sa1b(tmp_path).video(0)
    (tmp_path / 'img' / 'sa_1.json').write_text(json.dumps(dict(annotations=[dict(segmentation=[[1, 2, 3]])])))
    with pytest.raises(ValueError, match=r"sa_1.json, annotation 1: 'segmentation' must be an RLE"):
        _sa1b(tmp_path).video(0)


def _coco(root, records) -> str:
    data = dict(images=[dict(id=i, file_name=f'{i}.png', height=24, width=32) for i in range(3)],
                categories=[dict(id=1, name='a'), dict(id=2, name='b')],
                annotations=[dict(id=number, iscrowd=0, area=16, bbox=[2, 3, 4, 4], category_id=1, **record)
                             for number, record in enumerate(records, 1)])
    for i in range(3):
        cv2.imwrite(str(root / f'{i}.png'), np.zeros((24, 32, 3), np.uint8))
    (root / 'ann.json').write_text(json.dumps(data))
    return 'ann.json'


def test_coco(tmp_path, engine_log):
    square = [[2, 3, 6, 3, 6, 7, 2, 7]]
    full = np.zeros((24, 32), bool)
    full[3:7, 2:6] = True
    counts = rle.to_json(rle.encode(full))
    ann_file = _coco(tmp_path, [dict(image_id=0, segmentation=square), dict(image_id=0, segmentation=counts),
                                dict(image_id=1), dict(image_id=2, segmentation=counts)])
    source = CocoRawDataset(ann_file=ann_file, data_root=str(tmp_path))
    assert _names(source) == ['0', '2'] and source.is_image
    assert any('1 of 3 images have no object with a mask' in line for line in engine_log)
    video = source.video(0)
    assert video.segments.visible(video.frames[0]) == [1, 2]
    for number in (1, 2):
        assert (rle.decode(video.segments.segment(video.frames[0], number)) == full).all()
    (tmp_path / 'out.txt').write_text('0.png')
    assert _names(CocoRawDataset(ann_file=ann_file, data_root=str(tmp_path),
                                 excluded_videos_list_txt='out.txt')) == ['2']
    other = CocoRawDataset(dataset=dict(type='CocoDataset', ann_file=ann_file, data_root=str(tmp_path)), num_frames=2)
    assert len(other.video(1).frames) == 2


def test_coco_without_masks(tmp_path):
    ann_file = _coco(tmp_path, [dict(image_id=0)])
    with pytest.raises(ValueError, match='none of 3 images has an object with a mask'):
        CocoRawDataset(ann_file=ann_file, data_root=str(tmp_path))
    with pytest.raises(ValueError, match=r'ann_file beside dataset=dict\(...\) has no effect'):
        CocoRawDataset(dataset=dict(type='CocoDataset'), ann_file=ann_file)


def test_folders_that_are_not_there(davis):
    with pytest.raises(FileNotFoundError, match=r'img_folder .*JPEGImage does not exist; did you mean JPEGImages'):
        PNGRawDataset('JPEGImage', 'Annotations', data_root=str(davis))
    for path in (davis / 'JPEGImages' / 'bear').iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r'video folder .*bear holds no frames \(.jpg'):
        _png(davis).video(0)


def test_frames_and_masks_of_other_names(davis):
    for path in sorted((davis / 'Annotations' / 'bear').iterdir()):
        path.rename(path.with_name(f'm{path.name}'))
    with pytest.raises(ValueError, match=r'none of the 6 masks in .*bear \(such as m00000.png\) belongs to a frame'):
        _png(davis).video(0)
    cv2.imwrite(str(davis / 'JPEGImages' / 'bear' / '00000.jpg'), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r'00000.jpg and .*00000.png are the same frame'):
        _png(davis).video(0)


@pytest.mark.parametrize('settings', [dict(sample_rate=0), dict(sample_rate=1.5), dict(truncate_video=0),
                                      dict(truncate_video=-2)])
def test_settings_out_of_range(davis, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        _png(davis, **settings)


def test_names_in_one_block():
    names = ['a', '', 'längs', 'b.c']
    packed = Names(names)
    assert len(packed) == 4 and [packed[index] for index in range(4)] == names
