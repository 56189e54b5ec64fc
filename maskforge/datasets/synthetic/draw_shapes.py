"""The drawn data set on disk: COCO JSON, panoptic and semantic masks, clips."""
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from maskforge.formats import rle
from maskforge.formats.atomic_file import write_atomically
from maskforge.formats.coco_json import segmentation_to_json, write_coco_json
from maskforge.formats.json_file import write_json
from maskforge.formats.outline import bitmap_to_polygons
from maskforge.formats.panoptic_png import write_panoptic_png, write_png
from maskforge.formats.segmentation_jsonl import write_segmentation_jsonl

from ..class_names import make_palette, match_classes
from .scene import STUFF, Picture
from .shapes import OUTLINES
from .shapes_dataset import check_scene_settings, draw_scene


@dataclass
class DrawnShapes:
    """Where everything lies, by split ('train', 'val'); folders are absent where they were not asked for."""

    root: Path
    classes: tuple[str, ...]
    annotations: dict[str, Path] = field(default_factory=dict)
    images: dict[str, Path] = field(default_factory=dict)
    panoptic: dict[str, Path] = field(default_factory=dict)
    semantic: dict[str, Path] = field(default_factory=dict)
    clips: Path | None = None


def draw_shapes(root: str | Path, *, num_train: int = 200, num_val: int = 50, size: int = 128, seed: int = 0,
                classes: tuple[str, ...] = tuple(OUTLINES), max_objects: int = 6, segmentation: str = 'polygon',
                panoptic: bool = False, semantic: bool = False, clips: int = 0, clip_length: int = 12) -> DrawnShapes:
    """Draw the data set below ``root``; the same arguments give the same files.

    Written are ``train/``, ``val/`` (JPEG) and ``annotations/instances_{train,val}.json``; on request
    ``annotations/panoptic_*.json`` + ``panoptic_*/`` (things, then the stuff classes wall and floor),
    ``semantic_*/`` (PNG, class index + 1) with ``annotations/semantic_{train,val}.jsonl`` and the label map
    ``annotations/semantic_classes.json``, and ``clips/{JPEGImages,Annotations}/<clip>/`` in DAVIS' layout.

    Args:
        num_train, num_val: pictures a split; validation uses another seed, so no picture occurs in both.
        size: side of the pictures, pixels.
        segmentation: 'polygon' (RLE only where a mask has a hole) or 'rle'; both hold exactly the visible pixels.
        clips, clip_length: number of clips of moving shapes, and frames in each.

    Raises:
        ValueError: a setting is out of range.
    """
    check_scene_settings(num_images=num_train, size=size, max_objects=max_objects)
    check_scene_settings(num_images=num_val, size=size, max_objects=max_objects)
    if segmentation not in ('polygon', 'rle'):
        raise ValueError(f"segmentation={segmentation!r}: allowed are 'polygon' and 'rle'.")
    match_classes(classes, tuple(OUTLINES), 'the drawn data set')
    drawn = DrawnShapes(Path(root), tuple(classes))
    for offset, (split, count) in enumerate((('train', num_train), ('val', num_val))):
        scenes = (draw_scene(2 * seed + offset, number, size=size, classes=drawn.classes, max_objects=max_objects)
                  for number in range(count))
        _SplitWriter(drawn, split, segmentation, panoptic, semantic).write(scene.draw() for scene in scenes)
    if clips:
        drawn.clips = drawn.root / 'clips'
        for number in range(clips):
            # clips take scenes of a seed that no picture uses
            scene = draw_scene(2 * seed + 10**6, number, size=size, classes=drawn.classes, max_objects=max_objects)
            _write_clip(scene, drawn.clips, f'clip_{number:03d}', clip_length)
    return drawn


class _SplitWriter:
    """Writes one split and fills in the paths of :class:`DrawnShapes`."""

    def __init__(self, drawn: DrawnShapes, split: str, segmentation: str, panoptic: bool, semantic: bool) -> None:
        self.drawn, self.split, self.segmentation = drawn, split, segmentation
        self.folder = drawn.images[split] = drawn.root / split
        if panoptic:
            drawn.panoptic[split] = drawn.root / f'panoptic_{split}'
        if semantic:
            drawn.semantic[split] = drawn.root / f'semantic_{split}'
        self.things = [dict(id=i + 1, name=name, supercategory='shape') for i, name in enumerate(drawn.classes)]

    def write(self, pictures) -> None:
        """Write all pictures, then the JSON files."""
        images, annotations, panoptic = [], [], []
        for number, picture in enumerate(pictures, 1):
            stem = f'{number:06d}'
            _write_jpeg(picture.image, self.folder / f'{stem}.jpg')
            images.append(dict(id=number, file_name=f'{stem}.jpg', height=len(picture.image),
                               width=picture.image.shape[1]))
            annotations += [self._instance(picture, index, len(annotations) + index + 1, number)
                            for index in range(len(picture.labels))]
            if self.split in self.drawn.panoptic:
                panoptic.append(self._write_panoptic(picture, number, stem))
            if self.split in self.drawn.semantic:
                write_png(semantic_map(picture, len(self.things)) + np.uint8(1),
                          self.drawn.semantic[self.split] / f'{stem}.png')
        path = self.drawn.annotations[self.split] = self.drawn.root / 'annotations' / f'instances_{self.split}.json'
        write_coco_json(path, images=images, annotations=annotations, categories=self.things)
        if panoptic:
            write_json(dict(images=images, annotations=panoptic, categories=self._panoptic_categories()),
                       self.drawn.root / 'annotations' / f'panoptic_{self.split}.json')
        if self.split in self.drawn.semantic:
            self._list_semantic([Path(image['file_name']) for image in images])

    def _instance(self, picture: Picture, index: int, identity: int, image_id: int) -> dict:
        mask = picture.mask(index)
        code = rle.encode(mask)
        polygons = bitmap_to_polygons(mask) if self.segmentation == 'polygon' else None
        x0, y0, x1, y1 = rle.box(code)
        return dict(id=identity, image_id=image_id, category_id=int(picture.labels[index]) + 1,
                    bbox=[x0, y0, x1 - x0, y1 - y0], area=float(mask.sum()), iscrowd=0,
                    segmentation=segmentation_to_json(polygons or code))

    def _write_panoptic(self, picture: Picture, image_id: int, stem: str) -> dict:
        """Segment ids: stuff first, then objects; void does not occur."""
        ids = picture.stuff.astype(np.int32) + 1
        thing = picture.owners != 255
        ids[thing] = picture.owners[thing].astype(np.int32) + 1 + len(STUFF)
        segments = []
        for identity in np.unique(ids).tolist():
            index = identity - 1 - len(STUFF)
            category = int(picture.labels[index]) + 1 if index >= 0 else len(self.things) + identity
            mask = ids == identity
            x0, y0, x1, y1 = rle.box(rle.encode(mask))
            segments.append(dict(id=identity, category_id=category, area=int(mask.sum()), iscrowd=0,
                                 bbox=[x0, y0, x1 - x0, y1 - y0]))
        write_panoptic_png(ids, self.drawn.panoptic[self.split] / f'{stem}.png')
        return dict(image_id=image_id, file_name=f'{stem}.png', segments_info=segments)

    def _list_semantic(self, names: list[Path]) -> None:
        folder = self.drawn.root / 'annotations'
        write_segmentation_jsonl(folder / f'semantic_{self.split}.jsonl', [
            (f'{self.split}/{name}', f'semantic_{self.split}/{name.stem}.png') for name in names])
        entries = [{key: record[key] for key in ('id', 'name', 'color', 'isthing')}
                   for record in self._panoptic_categories()]
        write_json(entries, folder / 'semantic_classes.json')

    def _panoptic_categories(self) -> list[dict]:
        stuff = [dict(id=len(self.things) + i + 1, name=name, supercategory='background', isthing=0)
                 for i, name in enumerate(STUFF)]
        categories = [{**thing, 'isthing': 1} for thing in self.things] + stuff
        return [{**record, 'color': list(colour)} for record, colour in zip(categories, make_palette(len(categories)))]


def semantic_map(picture: Picture, num_things: int) -> np.ndarray:
    """(H, W) uint8 class of every pixel: things 0 to K - 1 by label, then the stuff classes."""
    # owners are at most 255, the value of background, which the stuff map replaces
    table = np.zeros(256, np.uint8)
    table[:len(picture.labels)] = picture.labels
    return np.where(picture.owners == 255, picture.stuff + num_things, table[picture.owners]).astype(np.uint8)


def _write_clip(scene, root: Path, name: str, length: int) -> None:
    """Write frames and palette PNGs whose value is the object's number from 1 (0: background)."""
    palette = np.zeros((256, 3), np.uint8)
    palette[1:] = make_palette(255)
    for frame in range(length):
        picture = scene.draw(frame)
        _write_jpeg(picture.image, root / 'JPEGImages' / name / f'{frame:05d}.jpg')
        indexed = Image.fromarray((picture.owners + np.uint8(1)), mode='P')
        indexed.putpalette(palette.ravel().tolist())
        path = root / 'Annotations' / name / f'{frame:05d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        indexed.save(path)
        scene.advance()


def _write_jpeg(image: np.ndarray, path: Path) -> None:
    write_atomically(path, cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
