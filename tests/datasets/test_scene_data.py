"""Data of panoptic, semantic and instance models: every option of the loaders, and what bad data is answered with."""
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from PIL import Image
from pycocotools import mask as coco_mask

from maskforge.datasets import CocoDataset, CocoPanopticDataset, SemanticJsonlDataset
from maskforge.formats.panoptic_json import write_panoptic_json
from maskforge.formats.panoptic_png import write_panoptic_png, write_png
from maskforge.formats.segmentation_jsonl import write_segmentation_jsonl

HEIGHT, WIDTH = 20, 30
SQUARE, WIDE = [[2, 2, 12, 2, 12, 12, 2, 12]], [[5, 5, 25, 5, 25, 15, 5, 15]]
LOAD = dict(type='LoadImageFromFile')
INSTANCES = [LOAD, dict(type='LoadAnnotations', with_mask=True), dict(type='PackDetInputs')]
PANOPTIC = [LOAD, dict(type='LoadPanopticAnnotations', with_seg=True), dict(type='PackDetInputs')]
SEMANTIC = [LOAD, dict(type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True,
                       reduce_zero_label=True), dict(type='SemSegToInstances'), dict(type='PackDetInputs')]
LABEL_MAP = [dict(id=4, name='dog', color=[9, 8, 7]), dict(id=2, name='sky', isthing=0)]


def _rle(compressed: bool) -> dict:
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    bitmap[:, 20:] = 1
    if not compressed:
        return dict(size=[HEIGHT, WIDTH], counts=[20 * HEIGHT, 10 * HEIGHT])
    code = coco_mask.encode(np.asfortranarray(bitmap))
    return dict(size=[HEIGHT, WIDTH], counts=code['counts'].decode())


def _annotation(number: int, segmentation, *, category: int = 4, crowd: int = 0) -> dict:
    box = [20, 0, 10, 20] if isinstance(segmentation, dict) else [2, 2, 23, 13]
    return dict(id=number, image_id=1, category_id=category, bbox=box, area=100, iscrowd=crowd,
                segmentation=segmentation)


@pytest.fixture
def files(tmp_path):
    """A picture with COCO instances, panoptic segments and a semantic map, and an empty picture."""
    for name in 'ab':
        write_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8), tmp_path / 'img' / f'{name}.png')
    ids = np.zeros((HEIGHT, WIDTH), int)
    ids[:, :10], ids[:, 10:20] = 7, 300
    write_panoptic_png(ids, tmp_path / 'png' / 'a.png')
    write_png(np.where(ids == 7, 2, ids > 0).astype(np.uint8), tmp_path / 'maps' / 'a.png')
    images = [dict(id=i, file_name=f'{name}.png', height=HEIGHT, width=WIDTH) for i, name in ((1, 'a'), (2, 'b'))]
    categories = [dict(id=2, name='sky', isthing=0), dict(id=4, name='dog')]
    (tmp_path / 'coco.json').write_text(json.dumps(dict(images=images, categories=categories, annotations=[
        _annotation(1, SQUARE), _annotation(2, WIDE, category=2), _annotation(3, _rle(False)),
        _annotation(4, _rle(True)), _annotation(5, _rle(False), crowd=1)])))
    write_panoptic_json(tmp_path / 'panoptic.json', images=images, categories=categories, annotations=[dict(
        image_id=1, file_name='a.png', segments_info=[dict(id=7, category_id=2), dict(id=300, category_id=4)])])
    write_segmentation_jsonl(tmp_path / 'list.jsonl', [('img/a.png', 'maps/a.png')])
    (tmp_path / 'map.json').write_text(json.dumps(LABEL_MAP))
    return tmp_path


def _coco(root, **settings):
    return CocoDataset(**{**dict(ann_file='coco.json', data_root=str(root), data_prefix=dict(img='img/')), **settings})


def _panoptic(root, **settings):
    return CocoPanopticDataset(**{**dict(ann_file='panoptic.json', data_root=str(root),
                                         data_prefix=dict(img='img', panoptic='png')), **settings})


def _semantic(root, **settings):
    settings = settings if 'label_map' in settings else {'metainfo': dict(classes=('dog', 'sky')), **settings}
    return SemanticJsonlDataset(**{**dict(ann_file='list.jsonl', data_root=str(root)), **settings})


def _edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# --- options ---

@pytest.mark.parametrize('build', [_coco, _panoptic])
def test_label_map_and_label_mode(files, build):
    chosen = build(files, label_map='map.json')
    assert chosen.metainfo['classes'] == ('dog', 'sky') and chosen.metainfo['category_ids'] == (4, 2)
    assert chosen.metainfo['is_thing'] == (True, False) and chosen.metainfo['palette'][0] == (9, 8, 7)
    by_id = build(files, label_map='map.json', label_mode='category_id')
    assert {item['bbox_label'] for item in by_id.get_data_info(0)['instances']} == {2, 4}
    assert by_id.metainfo['is_thing'] == (True, True, False, True, True) and by_id.metainfo['palette'][4] == (9, 8, 7)


@pytest.mark.parametrize('build', [_coco, _panoptic])
@pytest.mark.parametrize('entries, message', [
    (LABEL_MAP[:1], r"map.json lacks the class 'sky' \(id 2\) of .*; add an entry {\"id\": 2, \"name\": \"sky\"}"),
    ([LABEL_MAP[0], dict(id=3, name='sky')], "gives 'sky' the id 3, .* 2; one of the files")])
def test_label_maps_that_do_not_fit(files, build, entries, message):
    (files / 'map.json').write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=message):
        build(files, label_map='map.json')


def _listen(monkeypatch, module: str) -> list[str]:
    lines = []
    monkeypatch.setattr(f'maskforge.datasets.{module}.print_log', lambda text, *_: lines.append(text))
    return lines


def test_label_map_outdoes_classes_aloud(files, monkeypatch):
    lines = _listen(monkeypatch, 'category_labels')
    assert _coco(files, label_map='map.json', metainfo=dict(classes=('dog',))).metainfo['classes'] == ('dog', 'sky')
    assert len(lines) == 1 and 'map.json chooses the classes; metainfo.classes has no effect' in lines[0]


@pytest.mark.parametrize('build, pipeline', [(_coco, INSTANCES), (_panoptic, PANOPTIC)])
def test_folders_are_relative_to_the_root_or_absolute(files, build, pipeline):
    relative = build(files, pipeline=pipeline)[0]
    prefix = dict(img=str(files / 'img'), panoptic=str(files / 'png'))
    absolute = build(files, data_root='', ann_file=str(files / f'{build.__name__[1:]}.json'), pipeline=pipeline,
                     data_prefix=prefix if build is _panoptic else dict(img=prefix['img']))[0]
    assert (relative['data_samples'].gt_instances.labels == absolute['data_samples'].gt_instances.labels).all()


def test_semantic_paths_without_a_root(files):
    write_segmentation_jsonl(files / 'abs.jsonl', [(str(files / 'img/a.png'), str(files / 'maps/a.png'))])
    for root in ('', '/nowhere'):
        data = _semantic(root, ann_file=str(files / 'abs.jsonl'), pipeline=SEMANTIC)
        assert data[0]['data_samples'].gt_instances.labels.tolist() == [0, 1]


@pytest.mark.parametrize('build, pipeline', [(_coco, INSTANCES), (_panoptic, PANOPTIC)])
def test_images_without_objects(files, build, pipeline):
    kept = build(files, pipeline=pipeline)
    assert len(kept) == 2 and len(kept[1]['data_samples'].gt_instances) == 0
    assert len(build(files, filter_cfg=dict(filter_empty_gt=True))) == 1
    assert len(build(files, filter_cfg=dict(filter_empty_gt=True), test_mode=True)) == 2


def test_semantic_filters(files):
    assert len(_semantic(files, filter_cfg=dict(min_size=20))) == 1
    with pytest.raises(ValueError, match='Nothing is left'):
        _semantic(files, filter_cfg=dict(min_size=21))
    with pytest.raises(ValueError, match="unknown key 'filter_empty_gt'"):
        _semantic(files, filter_cfg=dict(filter_empty_gt=True))
    with pytest.raises(ValueError, match='min_size needs the sizes'):
        _semantic(files, filter_cfg=dict(min_size=20), check_files=False)
    with pytest.raises(ValueError, match='aspect ratio asks for; set check_files=True'):
        _semantic(files, check_files=False).image_sizes()
    assert len(_semantic(files, check_files=False, pipeline=SEMANTIC)[0]['data_samples'].gt_instances) == 2


# --- what masks mean ---

def test_overlapping_instances_stay_whole(files):
    sample = _coco(files, pipeline=INSTANCES)[0]['data_samples']
    masks = sample.gt_instances.masks.to_bitmaps()
    assert sample.gt_instances.labels.tolist() == [1, 0, 1, 1] and masks.sum((1, 2)).tolist() == [100, 200, 200, 200]
    assert (masks[0] & masks[1]).sum() == 49
    assert (masks[2] == masks[3]).all() and masks[2, :, 20:].all() and not masks[2, :, :20].any()
    assert sample.ignored_instances.labels.tolist() == [1]  # the crowd


def test_void_and_ignored_pixels_belong_to_nothing(files):
    panoptic = _panoptic(files, pipeline=PANOPTIC)[0]['data_samples']
    semantic = _semantic(files, pipeline=SEMANTIC)[0]['data_samples']
    for sample in (panoptic, semantic):
        assert not sample.gt_instances.masks.to_bitmaps()[:, :, 20:].any()
        assert (sample.gt_sem_seg.sem_seg[0, :, 20:] == 255).all()
    maps = np.full((HEIGHT, WIDTH), 255, np.uint8)
    maps[0, 0] = 1
    write_png(maps, files / 'maps' / 'a.png')
    assert _semantic(files, pipeline=SEMANTIC)[0]['data_samples'].gt_instances.masks.areas().tolist() == [1]


def test_panoptic_batches_need_no_common_size(files):
    data = _panoptic(files, pipeline=PANOPTIC, test_mode=True)
    assert len(pseudo_collate([data[0], data[1]])['data_samples']) == 2


# --- bad data ---

@pytest.mark.parametrize('change, message', [
    (lambda d: d['categories'].append(dict(id=0, name='cat')), 'category id 0 is below 1'),
    (lambda d: d['annotations'][2].update(id=0), 'annotation id 0 is below 1. Number them from 1, or set '
                                                 'require_positive_ids=False'),
    (lambda d: [item.update(id=-item['id']) for item in d['annotations']], r'annotation id -1 \(and 4 more\)')])
def test_ids_from_one(files, change, message):
    assert len(_coco(files, require_positive_ids=True)) == 2
    _edit(files / 'coco.json', change)
    assert len(_coco(files)) == 2
    with pytest.raises(ValueError, match=f'coco.json: {message}'):
        _coco(files, require_positive_ids=True)


@pytest.mark.parametrize('change, message', [
    (lambda d: d['annotations'][0]['segments_info'].pop(), 'a.png holds the segment id 300, which .* list it there, or '
                                                            r'paint it in 0 \(void\)'),
    (lambda d: [image.update(height=WIDTH, width=HEIGHT) for image in d['images']], 'EXIF'),
    (lambda d: [image.update(height=7) for image in d['images']], 'its record says 30 x 7')])
def test_png_and_json_contradict(files, change, message):
    _edit(files / 'panoptic.json', change)
    with pytest.raises(ValueError, match=message):
        _panoptic(files, pipeline=PANOPTIC, test_mode=True)[0]


def test_turned_png(files):
    write_panoptic_png(np.full((WIDTH, HEIGHT), 7), files / 'png' / 'a.png')
    with pytest.raises(ValueError, match=r'a.png is 20 x 30 pixels, its image 30 x 20; where EXIF data turn the photo'):
        _panoptic(files, pipeline=PANOPTIC, test_mode=True)[0]


def test_segment_without_pixels_is_left_out_with_one_warning(files, monkeypatch):
    _edit(files / 'panoptic.json', lambda d: d['annotations'][0]['segments_info'].insert(0, dict(id=9, category_id=4)))
    data, lines = _panoptic(files, pipeline=PANOPTIC), _listen(monkeypatch, 'transforms.segments')
    for _ in range(2):
        sample = data[0]['data_samples']
        assert sample.gt_instances.labels.tolist() == [0, 1] and sample.gt_instances.masks.areas().all()
        assert sample.gt_sem_seg.sem_seg[0, 0].tolist() == [0] * 10 + [1] * 10 + [255] * 10
    assert len(lines) == 1 and 'png/a.png has no pixel of segment 9, which the JSON file lists' in lines[0]


def test_class_beyond_the_data_set(files):
    write_png(np.full((HEIGHT, WIDTH), 3, np.uint8), files / 'maps' / 'a.png')
    with pytest.raises(ValueError, match=r'maps/a.png holds the value 3, but the data set has 2 classes: allowed are 1 '
                                         r'to 2, 0 and 255 \(ignored\). .* check reduce_zero_label=True'):
        _semantic(files, pipeline=SEMANTIC, test_mode=True)[0]
    plain = [LOAD, {**SEMANTIC[1], 'reduce_zero_label': False}]
    write_png(np.full((HEIGHT, WIDTH), 2, np.uint8), files / 'maps' / 'a.png')
    with pytest.raises(ValueError, match=r'holds the value 2, .* allowed are 0 to 1 and 255'):
        _semantic(files, pipeline=plain, test_mode=True)[0]


@pytest.mark.parametrize('line, message', [
    ('{"segm": "maps/a.png"}', 'list.jsonl, line 2 has no path of an image under "img"'),
    ('["img/a.png", "maps/a.png"]', 'line 2 has no path of an image'), ('{"img": 3, "segm": ""}', 'line 2 has no path'),
    ('{"img": "img/a.png" "segm": 1}', 'line 2 is not valid JSON: .* at character 20')])
def test_bad_lines_are_named(files, line, message):
    with (files / 'list.jsonl').open('a') as stream:
        stream.write(line)
    with pytest.raises(ValueError, match=message):
        _semantic(files)


@pytest.fixture
def turned(files):
    """A photo that is stored as 30 x 20 and shown as 20 x 30."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(files / 'img' / 'a.png', exif=exif)
    return files


UNTURNED = [dict(LOAD, color_type='color_ignore_orientation')]


def test_a_turned_photo_and_its_mask(turned):
    with pytest.raises(ValueError, match=r"list.jsonl, line 1: the mask .* is 30 x 20 pixels, its image 20 x 30; .* "
                                         r"set exif_orientation=False and LoadImageFromFile\(color_type="):
        _semantic(turned)
    data = _semantic(turned, exif_orientation=False, pipeline=[*UNTURNED, *SEMANTIC[1:]])
    sample = data[0]
    assert sample['inputs'].shape[1:] == sample['data_samples'].gt_sem_seg.sem_seg.shape[1:] == (HEIGHT, WIDTH)
    with pytest.raises(ValueError, match='color_ignore_orientation'):
        _semantic(turned, exif_orientation=False, pipeline=SEMANTIC, test_mode=True)[0]
    with pytest.raises(ValueError, match=r"got .*; where EXIF data turn the photo but not its map"):
        _semantic(turned, check_files=False, pipeline=SEMANTIC, test_mode=True)[0]

    upright = np.zeros((WIDTH, HEIGHT), np.uint8)
    write_png(upright, turned / 'maps' / 'a.png')
    assert _semantic(turned, pipeline=SEMANTIC)[0]['inputs'].shape[1:] == (WIDTH, HEIGHT)
    with pytest.raises(ValueError, match='fits the image as its EXIF data turn it: set exif_orientation=True'):
        _semantic(turned, exif_orientation=False)


def test_a_turned_photo_and_its_segments(turned):
    with pytest.raises(ValueError, match="color_type='color_ignore_orientation' in LoadImageFromFile"):
        _panoptic(turned, pipeline=PANOPTIC, test_mode=True)[0]
    sample = _panoptic(turned, pipeline=[*UNTURNED, *PANOPTIC[1:]], test_mode=True)[0]['data_samples']
    assert sample.gt_instances.masks.areas().tolist() == [200, 200]
