"""Data sets in MMDetection's middle format."""
from maskforge.formats.box_check import clip_box
from maskforge.formats.defect import Defect, settle
from maskforge.formats.middle_json import MiddleFile, read_middle
from maskforge.formats.segmentation_column import SegmentationColumn
from maskforge.registry import DATASETS

from .base_det_dataset import BaseDetDataset
from .class_names import match_classes


@DATASETS.register_module()
class MiddleFormatDataset(BaseDetDataset):
    """Records of a list ``dict(filename, width, height, ann)``, or of MMEngine's ``metainfo`` + ``data_list``.

    Boxes are xyxy. The plain list has no class names, so ``metainfo=dict(classes=...)`` must give them, in the order
    of its labels; a file with ``metainfo.classes`` lets the argument select and reorder. Pickles are loaded only if
    they hold plain values and arrays.
    """

    def load_data_list(self) -> list[dict]:
        """Read the file; errors name the record."""
        file = read_middle(self.ann_file, backend_args=self.backend_args)
        for key, value in file.metainfo.items():
            self._metainfo.setdefault(key, value)
        labels = self._labels(file)
        defects: list[Defect] = []
        records = [self._record(number, raw, labels, defects) for number, raw in enumerate(file.records)]
        settle(str(self.ann_file), defects, self.on_defect)
        return records

    def _labels(self, file: MiddleFile) -> dict[int, int]:
        """Map the file's labels to ours."""
        classes = self._metainfo.get('classes')
        if not classes:
            raise ValueError(f'{self.ann_file} has no class names; give them in the order of its labels: '
                             "metainfo=dict(classes=('first', 'second')).")
        named = tuple(file.metainfo.get('classes', classes))
        rows = match_classes(classes, named, str(self.ann_file))
        ids = file.metainfo.get('category_ids', range(len(named)))
        self._metainfo['category_ids'] = tuple(ids[row] for row in rows)
        return dict.fromkeys(range(len(named)), -1) | {old: new for new, old in enumerate(rows)}

    def _record(self, number: int, raw: dict, labels: dict[int, int], defects: list[Defect]) -> dict:
        instances = []
        for index, instance in enumerate(raw['instances']):
            box, problem = clip_box(instance['bbox'], height=raw['height'], width=raw['width'])
            label = labels.get(instance['bbox_label'])
            if label is None:
                problem = f'label {instance["bbox_label"]} is not among 0 to {len(labels) - 1}'
            problem = problem or _mask_problem(instance, raw)
            if problem:
                defects.append(Defect(f'record {number} ({raw["img_path"]}), instance {index}', problem))
            elif label >= 0:
                instances.append({**instance, 'bbox': box, 'bbox_label': label})
        record = {**raw, 'img_id': raw.get('img_id', number), 'instances': instances,
                  'img_path': self.image_path(raw['img_path'])}
        seg_map_path = self.seg_map_path(raw['img_path'])
        return {**record, 'seg_map_path': seg_map_path} if seg_map_path else record


def _mask_problem(instance: dict, raw: dict) -> str | None:
    if instance.get('mask') is None:
        return None
    return SegmentationColumn().append(instance['mask'], height=raw['height'], width=raw['width'])
