"""Annotation files that went bad: read whole, or refused with the file and the record."""
import json

from fuzzing import fuzz, works_or_tells
from hypothesis import given
from hypothesis import strategies as st
from mutations import spoiled, spoiled_bytes, spoiled_json

from maskforge.datasets import CocoDataset, CocoPanopticDataset, SemanticJsonlDataset
from maskforge.datasets.converters import check_coco
from maskforge.datasets.converters import kitti as kitti_converter
from maskforge.datasets.converters import via as via_converter
from maskforge.datasets.video.sav_source import JSONRawDataset
from maskforge.formats.coco_json import CocoJson
from maskforge.formats.json_stream import stream_json
from maskforge.formats.panoptic_json import PanopticJson

BOXES = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


def _use(dataset):
    """What training does with every record."""
    for index in range(len(dataset)):
        results = dataset[index]
        if 'gt_masks' in results:
            results['gt_masks'].to_bitmaps()


@fuzz
@given(data=st.data())
def test_coco(sound, coco, data):
    path = sound / 'annotations' / 'spoiled.json'
    path.write_bytes(data.draw(spoiled(coco)))
    names = 'spoiled.json', str(sound / 'train')
    works_or_tells(lambda: _use(CocoDataset(
        ann_file=str(path), data_root=str(sound), data_prefix=dict(img='train'), pipeline=BOXES, on_error='raise')),
        *names)
    # the ways of evaluation, of the checker, and of files that are too large for memory
    works_or_tells(lambda: CocoJson.load(path).to_pycocotools(), *names)
    works_or_tells(lambda: CocoJson.load(path, on_defect='skip').to_dict(), *names)
    works_or_tells(lambda: [list(value) if not isinstance(value, (str, int, float, dict, bool, type(None))) else value
                            for _, value in stream_json(path)], *names)
    works_or_tells(lambda: check_coco(path), *names)


@fuzz
@given(data=st.data())
def test_panoptic(sound, data):
    content = json.loads((sound / 'annotations' / 'panoptic_train.json').read_text())
    path = sound / 'annotations' / 'spoiled_panoptic.json'
    path.write_bytes(data.draw(spoiled(content)))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadPanopticAnnotations')]
    works_or_tells(lambda: _use(CocoPanopticDataset(
        ann_file=str(path), data_root=str(sound), data_prefix=dict(img='train', panoptic='panoptic_train'),
        pipeline=pipeline, on_error='raise')), 'spoiled_panoptic.json', str(sound))
    works_or_tells(lambda: PanopticJson.load(path, on_defect='skip'), 'spoiled_panoptic.json')


@fuzz
@given(data=st.data())
def test_jsonl(sound, data):
    lines = (sound / 'annotations' / 'semantic_train.jsonl').read_bytes()
    records = [json.loads(line) for line in lines.splitlines()]
    path = sound / 'spoiled.jsonl'
    bad_line = data.draw(st.one_of(spoiled_json(records[0]), st.just(None)))
    path.write_bytes(data.draw(spoiled_bytes(lines)) if bad_line is None else bad_line + b'\n' + lines)
    pipeline = [dict(type='LoadImageFromFile'), dict(
        type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True, reduce_zero_label=True)]
    works_or_tells(lambda: _use(SemanticJsonlDataset(
        ann_file=str(path), data_root=str(sound), metainfo=dict(classes=tuple('abcdefg')), pipeline=pipeline,
        on_error='raise')), 'spoiled.jsonl', str(sound))


@fuzz
@given(data=st.data())
def test_via(sound, data):
    image = sorted((sound / 'train').iterdir())[0].name
    shapes = [dict(name='polygon', all_points_x=[1, 20, 20], all_points_y=[1, 1, 30]),
              dict(name='rect', x=2, y=3, width=10, height=12), dict(name='ellipse', cx=20, cy=20, rx=5, ry=7, theta=1)]
    regions = [dict(shape_attributes=shape, region_attributes=dict(kind='a')) for shape in shapes]
    content = {'a1': dict(filename=image, size=1, regions=regions, file_attributes={})}
    path = sound / 'train' / 'spoiled_via.json'
    path.write_bytes(data.draw(spoiled(content)))
    works_or_tells(lambda: via_converter.convert(path, sound / 'out.json', classes=('a',), attribute='kind'),
                   'spoiled_via.json', str(sound / 'train'))


@fuzz
@given(data=st.data())
def test_kitti(kitti, data, tmp_path_factory):
    root, text = kitti
    (root / 'labels' / '000000.txt').write_bytes(data.draw(spoiled_bytes(text)))
    out = tmp_path_factory.mktemp('out')
    works_or_tells(lambda: kitti_converter.convert(root, out, num_shards=0), '000000.txt', str(root))


@fuzz
@given(data=st.data())
def test_kitti_mapping(kitti, data, tmp_path_factory):
    root, text = kitti
    (root / 'labels' / '000000.txt').write_bytes(text)
    out = tmp_path_factory.mktemp('out')
    (out / 'mapping.json').write_bytes(data.draw(spoiled({'car': 'vehicle', 'person group': None})))
    works_or_tells(lambda: kitti_converter.convert(root, out, num_shards=0, mapping=out / 'mapping.json'),
                   'mapping.json', '000000.txt', str(root))


@fuzz
@given(data=st.data())
def test_sav(video, data):
    root, content = video
    (root / 'masks' / 'v_manual.json').write_bytes(data.draw(spoiled(content)))

    def use():
        source = JSONRawDataset(str(root / 'frames'), str(root / 'masks'))
        found = source.video(0)
        for frame in found.frames:
            for number in found.segments.visible(frame):
                found.segments.segment(frame, number)

    works_or_tells(use, 'v_manual.json', str(root))
