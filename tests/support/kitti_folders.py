"""KITTI folders made of COCO data sets."""
import shutil
from pathlib import Path

from maskforge.formats import CocoJson
from maskforge.formats.kitti import KittiObject, write_kitti_labels


def write_kitti_folder(root: Path, annotations: Path, images: Path) -> CocoJson:
    """Copy images to ``root/images`` and write the boxes of their objects to ``root/labels``; returns the source."""
    coco = CocoJson.load(annotations)
    names = dict(zip(coco.category_ids.tolist(), coco.category_names))
    (root / 'images').mkdir(parents=True)
    for image, objects in coco:
        name = Path(image['file_name']).name
        shutil.copy(images / name, root / 'images' / name)
        records = [KittiObject(names[one['category_id']], _xyxy(one['bbox'])) for one in objects if not one['iscrowd']]
        write_kitti_labels(root / 'labels' / f'{Path(name).stem}.txt', records)
    return coco


def _xyxy(box):
    x, y, width, height = box
    return x, y, x + width, y + height
