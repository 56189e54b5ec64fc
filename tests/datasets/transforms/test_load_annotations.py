"""From records to arrays, in the frame of the current image."""
import cv2
import numpy as np
import pytest

from maskforge.datasets.transforms import Compose, LoadAnnotations, LoadImageFromFile, Pad, RandomFlip, Resize


def loaded(record: dict, *before, **options) -> dict:
    return Compose([LoadImageFromFile(), *before, LoadAnnotations(**options)])(record)


def test_arrays(record):
    results = loaded(record, with_mask=True, poly2mask=False)
    assert results['gt_bboxes'].dtype == np.float32 and results['gt_bboxes'].shape == (3, 4)
    assert results['gt_bboxes_labels'].tolist() == [2, 0, 1]
    assert results['gt_ignore_flags'].tolist() == [False, True, False]
    assert [type(item) for item in results['gt_masks'].segmentations] == [list, dict, list]
    assert results['gt_masks'].areas().tolist() == [500, 300, 225]


def test_poly2mask_rasterises_and_keeps_rle(record):
    results = loaded(record, with_mask=True)
    assert all(isinstance(item, dict) for item in results['gt_masks'].segmentations)
    assert results['gt_masks'].areas().tolist() == [500, 300, 225]


@pytest.mark.parametrize('poly2mask', [True, False])
def test_after_a_resize_as_before_it(record, poly2mask):
    resize, options = Resize(scale=(131, 97)), dict(with_mask=True, poly2mask=poly2mask)
    after = loaded(dict(record), resize, **options)
    before = resize(loaded(dict(record), **options))
    assert np.array_equal(after['gt_bboxes'], before['gt_bboxes'])
    assert (after['gt_masks'].to_bitmaps() == before['gt_masks'].to_bitmaps()).all()


@pytest.mark.parametrize('moved, message', [
    (Pad(size=(90, 90)), r'\(60, 80\) is now \(90, 90\)'), (RandomFlip(prob=1.), 'and flipped')])
def test_not_after_other_changes(record, moved, message):
    with pytest.raises(ValueError, match=f'must be loaded before crops, pads and flips.*{message}'):
        loaded(record, moved)


def test_no_instances(record):
    results = loaded(dict(record, instances=[]), with_mask=True)
    assert results['gt_bboxes'].shape == (0, 4) and len(results['gt_masks']) == 0
    assert results['gt_bboxes_labels'].dtype == np.int64


@pytest.mark.parametrize('change, message', [
    (dict(mask=[[1, 2, 3, 4]]), 'instance 1, polygon 0: a polygon needs at least 3 points'),
    (dict(mask={'size': [1, 1], 'counts': [1]}), r'instance 1: the RLE has size \(h, w\) = \(1, 1\)')])
def test_bad_masks_name_image_and_instance(record, change, message):
    record['instances'][1].update(change)
    with pytest.raises(ValueError, match=rf'LoadAnnotations, on .*a\.png \(img_id 7\): .*{message}'):
        loaded(record, with_mask=True)


def test_what_is_missing_is_named(record):
    del record['instances'][2]['mask']
    with pytest.raises(ValueError, match=r"instance 2 has no 'mask' .*with_mask=False"):
        loaded(dict(record), with_mask=True)
    del record['instances']
    with pytest.raises(ValueError, match=r"needs results\['instances'\]"):
        loaded(record)
    with pytest.raises(ValueError, match="box_type must be 'hbox'"):
        LoadAnnotations(box_type='rbox')


def test_segmentation_map(record, tmp_path):
    seg_map = np.random.default_rng(0).integers(0, 4, (60, 80), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'seg.png'), seg_map)
    record['seg_map_path'] = str(tmp_path / 'seg.png')
    assert (loaded(dict(record), with_seg=True)['gt_seg_map'] == seg_map).all()
    reduced = loaded(dict(record), with_seg=True, reduce_zero_label=True)['gt_seg_map']
    assert (reduced[seg_map == 0] == 255).all() and (reduced[seg_map > 0] == seg_map[seg_map > 0] - 1).all()
    resized = loaded(dict(record), Resize(scale=(40, 30)), with_seg=True)['gt_seg_map']
    assert (resized == seg_map[::2, ::2]).all()


def test_segmentation_map_errors(record, tmp_path):
    with pytest.raises(ValueError, match='seg_map_path'):
        loaded(dict(record), with_seg=True)
    cv2.imwrite(str(tmp_path / 'seg.png'), np.zeros((5, 5), dtype=np.uint8))
    with pytest.raises(ValueError, match=r'seg\.png: expected .* of \(h, w\) = \(60, 80\), got \(5, 5\)'):
        loaded(dict(record, seg_map_path=str(tmp_path / 'seg.png')), with_seg=True)
