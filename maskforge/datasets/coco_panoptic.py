"""COCO panoptic annotations as a data set."""
from typing import Any

import numpy as np
from mmengine.fileio import join_path

from maskforge.formats.label_map import read_label_map
from maskforge.formats.panoptic_json import PanopticJson
from maskforge.registry import DATASETS

from .base_det_dataset import BaseDetDataset
from .category_labels import check_label_mode, describe_classes, select_categories, use_label_map


@DATASETS.register_module()
class CocoPanopticDataset(BaseDetDataset):
    """Images whose every pixel belongs to a thing, to stuff, or to void.

    A record's ``instances`` are its segments, ``dict(segment_id, bbox_label, ignore_flag)`` with ``ignore_flag=1`` for
    crowd; the transform ``LoadPanopticAnnotations`` reads their masks from ``panoptic_path``. ``metainfo`` has
    ``is_thing``, a bool per class, beside classes (by rising category id), category_ids and palette (the file's).

    Args:
        ann_file: panoptic JSON, below ``data_root`` unless absolute.
        data_prefix: ``dict(img='folder/of/images/', panoptic='folder/of/PNGs/')``; ``seg`` is another name of
            ``panoptic``. By default the PNGs lie beside the JSON file in the folder of its name.
        label_mode, num_classes: as in :class:`CocoDataset`.
        label_map: JSON list of classes (see :mod:`maskforge.formats.label_map`): selects and orders the classes, gives
            colours and ``is_thing``.

    Raises:
        ValueError: a label map that lacks a class of the annotations, or whose ids are others.
    """

    def __init__(self, *args: Any, label_mode: str = 'contiguous', num_classes: int | None = None,
                 label_map: str | None = None, **kwargs: Any) -> None:
        check_label_mode(label_mode, num_classes)
        self.label_mode, self.num_classes, self.label_map = label_mode, num_classes, label_map
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the file; see :meth:`maskforge.formats.panoptic_json.PanopticJson.load` for the errors."""
        panoptic = PanopticJson.load(self.ann_file, on_defect=self.on_defect, backend_args=self.backend_args)
        labels = self._select_classes(panoptic)
        folder = self.data_prefix.get('panoptic') or self.data_prefix.get('seg') or str(self.ann_file)[:-len('.json')]
        return [self._record(panoptic, row, labels, folder) for row in range(len(panoptic))]

    def _select_classes(self, panoptic: PanopticJson) -> np.ndarray:
        names, ids = panoptic.category_names, panoptic.category_ids
        described = {name: (thing, record.get('color'))
                     for name, thing, record in zip(names, panoptic.is_thing.tolist(), panoptic.categories)}
        if self.label_map is not None:
            path = join_path(self.data_root or '', self.label_map)
            described = use_label_map(self._metainfo, read_label_map(path), names, ids.tolist(), path=path,
                                      source=panoptic.path)
        table = select_categories(self._metainfo, names, ids, label_mode=self.label_mode,
                                  num_classes=self.num_classes, source=panoptic.path)
        describe_classes(self._metainfo, described)
        return table

    def _record(self, panoptic: PanopticJson, row: int, labels: np.ndarray, folder: str) -> dict:
        segments = panoptic.segments_of(row)
        height, width = panoptic.images.sizes[row].tolist()
        name, png = panoptic.images.names[row], panoptic.png_names[row]
        instances = [dict(segment_id=identity, bbox_label=label, ignore_flag=int(crowd or label < 0))
                     for identity, label, crowd in zip(segments.ids.tolist(), labels[segments.category_rows].tolist(),
                                                       segments.crowd.tolist())]
        return dict(img_path=self.image_path(name), img_id=int(panoptic.images.ids[row]), height=height, width=width,
                    panoptic_path=join_path(folder, png) if png else None, instances=instances)
