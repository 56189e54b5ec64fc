"""Simple Copy-Paste (Ghiasi et al., 2021): instances of another image are pasted onto this one."""
import numpy as np
from mmcv.transforms import BaseTransform

from maskforge.registry import TRANSFORMS
from maskforge.structures import InstanceMasks, sample_rng

from .ground_truth import Number, instance_keys, select_instances
from .shared_draw import shared_draw


@TRANSFORMS.register_module()
class CopyPaste(BaseTransform):
    """Paste instances of ``results['mix_results'][0]`` onto the image (inside ``MultiImageMixDataset``).

    Both images must have one size: let the data set's own pipeline resize, crop and pad to a fixed size. What the
    pasted instances cover is taken from the masks below; boxes are recomputed for those. Ignored instances (crowds)
    are not pasted.

    Args:
        max_num_pasted: the most instances that are pasted.
        bbox_occluded_thr: a covered instance is kept if its box has moved by no more than this many pixels ...
        mask_occluded_thr: ... or if more than this many pixels of it are left.
        selected: paste a random subset; False pastes all.
        paste_by_box: use boxes as masks, for data without masks.
    """

    def __init__(self, max_num_pasted: int = 100, bbox_occluded_thr: Number = 10, mask_occluded_thr: int = 300,
                 selected: bool = True, paste_by_box: bool = False):
        self.max_num_pasted, self.selected, self.paste_by_box = max_num_pasted, selected, paste_by_box
        self.bbox_occluded_thr, self.mask_occluded_thr = bbox_occluded_thr, mask_occluded_thr

    @shared_draw
    def get_indexes(self, dataset) -> int:
        """Draw the index of the image to paste from."""
        return int(sample_rng().integers(0, len(dataset)))

    def transform(self, results: dict) -> dict:
        if len(results.get('mix_results') or ()) != 1:
            raise ValueError("CopyPaste needs one other image in results['mix_results']; put it into the pipeline of "
                             'a MultiImageMixDataset')
        source = dict(results['mix_results'][0])
        if source['img'].shape != results['img'].shape:
            raise ValueError(f"CopyPaste needs images of one size, got {results['img'].shape[:2]} and "
                             f"{source['img'].shape[:2]} (h, w); end the data set's own pipeline with RandomCrop and "
                             'Pad(size=...)')
        if self.paste_by_box:
            results['gt_masks'], source['gt_masks'] = _box_masks(results), _box_masks(source)
        elif 'gt_masks' not in results or 'gt_masks' not in source:
            raise ValueError('CopyPaste needs masks: LoadAnnotations(with_mask=True), or paste_by_box=True')
        select_instances(source, self._choose(source))
        self._paste(results, source)
        if self.paste_by_box:
            del results['gt_masks']
        return results

    @shared_draw
    def _choose(self, source: dict) -> np.ndarray:
        able = np.flatnonzero(~source['gt_ignore_flags']) if 'gt_ignore_flags' in source \
            else np.arange(len(source['gt_bboxes']))
        limit = min(len(able), self.max_num_pasted)
        rng = sample_rng()
        count = int(rng.integers(0, limit + 1)) if self.selected else limit
        return np.sort(rng.choice(able, count, replace=False)).astype(np.int64)

    def _paste(self, results: dict, source: dict) -> None:
        if not len(source['gt_bboxes']):
            return
        covered = source['gt_masks'].to_bitmaps().any(axis=0)
        results['img'] = np.where(covered[..., None], source['img'], results['img'])
        self._uncover(results, covered)
        for key in instance_keys(results):
            if key not in source:
                raise ValueError(f"CopyPaste: results['{key}'] is missing in the image to paste from")
            both = [results[key], source[key]]
            results[key] = InstanceMasks.cat(both) if isinstance(both[0], InstanceMasks) else np.concatenate(both)

    def _uncover(self, results: dict, covered: np.ndarray) -> None:
        """Take the covered pixels from the masks, and drop the instances that lost too much."""
        bitmaps = results['gt_masks'].to_bitmaps()
        touched = np.flatnonzero((bitmaps & covered).any(axis=(1, 2)))
        if not len(touched):
            return
        left = InstanceMasks.from_bitmaps(bitmaps[touched] & ~covered)
        old_boxes, new_boxes = results['gt_bboxes'][touched], left.bboxes()
        moved = np.abs(new_boxes - old_boxes).max(axis=1)
        kept = np.ones(len(bitmaps), dtype=bool)
        kept[touched] = (left.areas() > self.mask_occluded_thr) | ((moved <= self.bbox_occluded_thr)
                                                                   & (left.areas() > 0))
        results['gt_bboxes'] = results['gt_bboxes'].copy()
        results['gt_bboxes'][touched] = new_boxes
        results['gt_masks'] = results['gt_masks'].replace(touched, left)
        select_instances(results, kept)


def _box_masks(results: dict) -> InstanceMasks:
    boxes = results['gt_bboxes'].astype(np.float64)
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]]
    return InstanceMasks([[ring] for ring in corners], *results['img'].shape[:2])
