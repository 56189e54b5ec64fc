"""The semantic truth that panoptic annotations hold."""
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from maskforge.formats.panoptic_json import PanopticJson, read_segments

from .class_map import ClassMap


class PanopticClassMaps:
    """Reads panoptic annotations as maps of classes, at the size of the original images.

    Args:
        ann_file: panoptic JSON.
        seg_prefix: folder of its PNGs; by default the folder beside ``ann_file`` of the same name.
    """

    def __init__(self, ann_file: str | Path, seg_prefix: str | Path | None = None) -> None:
        self.truth = PanopticJson.load(ann_file)
        self.folder = Path(seg_prefix) if seg_prefix is not None else Path(ann_file).with_suffix('')
        self._rows = self.truth.images.row_of()
        self._labels: np.ndarray | None = None

    def read(self, img_id: object, meta: Mapping | None, *, void: int) -> Int64[np.ndarray, 'H W']:
        """Return class indices of the data set; ``void`` for void, crowd and categories that it does not have.

        Args:
            meta: metainfo of the data set.

        Raises:
            ValueError: an image that the file does not list, or without annotation.
            FileNotFoundError: no such PNG.
        """
        row = self._rows.get(img_id)
        if row is None or not self.truth.png_names[row]:
            raise ValueError(f'{self.truth.path} has no annotation of image {img_id!r} to compare with; the metric and '
                             'the data set need the same annotation file.')
        segments = self.truth.segments_of(row)
        ids = read_segments(self.folder / self.truth.png_names[row], segments,
                            size=tuple(self.truth.images.sizes[row].tolist()))
        labels = self._labels_of_categories(meta)[segments.category_rows]
        labels = np.where(segments.crowd | (labels < 0), void, labels)
        return np.concatenate([[void], labels]).astype(np.int64)[ids]

    def _labels_of_categories(self, meta: Mapping | None) -> Int64[np.ndarray, ' categories']:
        if self._labels is None:
            classes = ClassMap.match(meta, self.truth.categories, source=self.truth.path)
            label_of = {identity: label for label, identity in enumerate(classes.ids)}
            self._labels = np.array([label_of.get(identity, -1) for identity in self.truth.category_ids.tolist()])
        return self._labels
