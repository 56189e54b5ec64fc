"""Pascal VOC's folders as a data set, read from the XML files."""
from pathlib import Path
from typing import Any

from mmengine.fileio import join_path

from maskforge.formats.box_check import clip_box
from maskforge.formats.defect import Defect, settle
from maskforge.formats.image_header import read_image_size
from maskforge.formats.text_file import read_text_file
from maskforge.formats.voc_xml import VocRecord, read_voc_xml
from maskforge.registry import DATASETS

from .base_det_dataset import BaseDetDataset
from .class_names import match_classes

VOC_CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
               'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')


@DATASETS.register_module()
class VOCDataset(BaseDetDataset):
    """Boxes of Pascal VOC's XML files; no masks.

    Classes are ``metainfo.classes``; without it VOC's twenty if all names are among them, else the sorted names of
    all XML files in the annotation folder, so that the splits of one folder agree. ``difficult`` objects are ignored
    regions. Boxes are clipped to the image.

    Args:
        ann_file: a list of image names, one a line, as in ``ImageSets/Main/trainval.txt``; without one, every XML
            file of the annotation folder is taken.
        data_prefix: ``dict(sub_data_root='VOC2007/')``, the folder below ``data_root`` that holds the two folders.
        img_subdir, ann_subdir: their names.
        one_based: corners count from 1, both ends included (VOC); False where the labelling tool counted from 0.
    """

    PREFIXES = (*BaseDetDataset.PREFIXES, 'sub_data_root')
    FILTERS = (*BaseDetDataset.FILTERS, 'bbox_min_size')

    def __init__(self, *args: Any, img_subdir: str = 'JPEGImages', ann_subdir: str = 'Annotations',
                 one_based: bool = True, **kwargs: Any) -> None:
        self.img_subdir = img_subdir
        self.ann_subdir = ann_subdir
        self.one_based = one_based
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the listed files; errors name the file and the object."""
        annotations = self._folder(self.ann_subdir)
        names = self._image_names(annotations)
        files = [read_voc_xml(annotations / f'{name}.xml', one_based=self.one_based) for name in names]
        classes = self._metainfo['classes'] = self._choose_classes(files, annotations)
        labels = {name: label for label, name in enumerate(classes)}
        defects: list[Defect] = []
        records = [self._record(name, file, labels, defects) for name, file in zip(names, files)]
        settle(str(annotations), defects, self.on_defect)
        return records

    def _folder(self, name: str) -> Path:
        root = self.data_prefix.get('sub_data_root') or self.data_root or ''
        return Path(join_path(root, name) if root else name)

    def _image_names(self, annotations: Path) -> list[str]:
        if self.ann_file:
            text = read_text_file(self.ann_file, 'list of images')
            return [line.split()[0] for line in text.splitlines() if line.strip()]
        if not annotations.is_dir():
            raise FileNotFoundError(f'folder {annotations} does not exist (data_root and ann_subdir make it up).')
        return sorted(path.stem for path in annotations.glob('*.xml'))

    def _choose_classes(self, files: list[VocRecord], annotations: Path) -> tuple[str, ...]:
        present = {obj.name for file in files for obj in file.objects}
        given = self._metainfo.get('classes')
        if given is None:
            return VOC_CLASSES if present <= set(VOC_CLASSES) else tuple(self._all_names(annotations))
        # a class may be missing in this split; one that no file of the folder has is a mistake
        absent = [name for name in given if name not in present and name not in VOC_CLASSES]
        if absent:
            match_classes(absent, self._all_names(annotations), str(annotations))
        return given

    def _all_names(self, annotations: Path) -> list[str]:
        return sorted({obj.name for path in annotations.glob('*.xml')
                       for obj in read_voc_xml(path, one_based=self.one_based).objects})

    def _record(self, name: str, file: VocRecord, labels: dict[str, int], defects: list[Defect]) -> dict:
        path = self._folder(self.img_subdir) / (file.file_name or f'{name}.jpg')
        height, width = file.height, file.width
        if height is None or width is None:
            height, width = read_image_size(path)
        instances = []
        min_size = (self.filter_cfg or {}).get('bbox_min_size', 0) if not self.test_mode else 0
        for number, obj in enumerate(file.objects):
            box, problem = clip_box(obj.box, height=height, width=width)
            if problem:
                defects.append(Defect(f'{name}.xml, object[{number}] ({obj.name})', problem))
            elif obj.name in labels:
                ignored = obj.difficult or min(box[2] - box[0], box[3] - box[1]) < min_size
                instances.append(dict(bbox=box, bbox_label=labels[obj.name], ignore_flag=int(ignored)))
        return dict(img_path=str(path), img_id=name, height=height, width=width, instances=instances)
