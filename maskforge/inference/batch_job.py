"""Prediction over many images, into a folder: drawn pictures and one COCO JSON; goes on after a kill."""
import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel

from maskforge.formats.atomic_file import write_atomically
from maskforge.inference.image_list import InputImage, Inputs, list_images
from maskforge.inference.job_progress import JobProgress
from maskforge.inference.load_model import load_model
from maskforge.inference.predictor import Predictor, make_predictor
from maskforge.inference.result_file import Journal, to_records, write_result
from maskforge.structures import DetDataSample
from maskforge.visualization import draw_instances

RESULT_NAME = 'predictions.json'
JOURNAL_NAME = 'predictions.journal'
PICTURES = 'vis'
WARNING = 30


def run_inference(model: str | Path | Config | BaseModel, inputs: Inputs, *, weights: str | Path | None = None,
                  out_dir: str | Path = 'results', batch_size: int = 1, device: str | None = None,
                  score_thr: float = 0.3, min_score: float = 0.0, save_images: bool = True, min_side: int = 0,
                  resume: bool = True, cfg: Config | None = None) -> Path:
    """Predict, draw and write ``out_dir/predictions.json`` (COCO: images, categories, annotations with scores).

    Finished batches are kept in a journal: a job that was killed goes on where it stopped and ends with the same
    file. Broken images are named, counted and left out.

    Args:
        model: config, checkpoint or ONNX file (see :class:`~maskforge.inference.Inferencer`), or a loaded model
            together with ``cfg``.
        inputs: paths, folders, patterns, arrays, or a list of them.
        weights: checkpoint for a config.
        out_dir: folder of the results; pictures lie in its ``vis``.
        batch_size: images per forward pass.
        device: None takes CUDA where there is one.
        score_thr: objects below it are not drawn.
        min_score: objects below it are not written.
        save_images: draw and write pictures.
        min_side: pictures whose shorter side is below this (pixels) are enlarged for drawing, so that labels do not
            cover the objects; 0 keeps their size.
        resume: go on from an earlier, interrupted job in ``out_dir``; False starts anew.
        cfg: config of a model that was handed over loaded.

    Returns:
        Path of the JSON.

    Raises:
        ValueError: ``out_dir`` holds an interrupted job with another model, images or options; all images broken.
    """
    if batch_size < 1:
        raise ValueError(f'batch_size={batch_size} must be at least 1.')
    images = list_images(inputs)
    settings = dict(model=identity_of(model), weights=identity_of(weights) if weights else None, batch_size=batch_size,
                    score_thr=score_thr, min_score=min_score, save_images=save_images, min_side=min_side,
                    images=_digest(images))
    loaded = (model, cfg) if isinstance(model, BaseModel) else load_model(model, weights=weights, device=device)
    job = _Job(loaded[0], make_predictor(*loaded), Path(out_dir), settings)
    return job.run(images, resume=resume)


class _Job:
    def __init__(self, model: BaseModel, predictor: Predictor, out_dir: Path, settings: dict[str, Any]) -> None:
        self.predictor, self.out_dir, self.settings = predictor, out_dir, settings
        self.meta = dict(getattr(model, 'dataset_meta', None) or {})

    def run(self, images: Sequence[InputImage], *, resume: bool) -> Path:
        journal = Journal(self.out_dir / JOURNAL_NAME, self.settings, resume=resume)
        size = self.settings['batch_size']
        # whole batches of the full list: what stands together in a batch does not depend on where a job was killed
        batches = [list(range(start, min(start + size, len(images)))) for start in range(0, len(images), size)]
        todo = [batch for batch in batches if not all(images[i].name in journal.entries for i in batch)]
        done = len(images) - sum(map(len, todo))
        if done:
            print_log(f'{self.out_dir}: {done} of {len(images)} images were done before', logger='current')
        try:
            with JobProgress(len(images), done=done) as progress, ThreadPoolExecutor(1) as reader:
                self._run_batches(images, todo, journal, progress, reader)
        finally:
            journal.close()
        return self._finish(images, journal)

    def _run_batches(self, images: Sequence[InputImage], todo: list[list[int]], journal: Journal,
                     progress: JobProgress, reader: ThreadPoolExecutor) -> None:
        def read(batch: list[int]) -> Future:
            return reader.submit(lambda: [self._prepare(images[index], index + 1) for index in batch])

        following = read(todo[0]) if todo else None
        for position, batch in enumerate(todo):
            prepared = following.result()
            following = read(todo[position + 1]) if position + 1 < len(todo) else None
            journal.add(self._predict([images[index] for index in batch], prepared))
            progress.advance(len(batch))

    def _prepare(self, image: InputImage, image_id: int) -> Any:
        """The prepared image, or the error that it raised."""
        try:
            return self.predictor.prepare(image, image_id)
        except (ValueError, OSError, cv2.error) as error:
            return error

    def _predict(self, images: Sequence[InputImage], prepared: Sequence[Any]) -> list[dict[str, Any]]:
        entries = []
        whole = [entry for entry in prepared if not isinstance(entry, Exception)]
        samples = iter(self.predictor.predict(whole) if whole else [])
        for image, entry in zip(images, prepared):
            if isinstance(entry, Exception):
                print_log(f'skipped {image.path or image.name}: {entry}', logger='current', level=WARNING)
                entries.append(dict(name=image.name, error=str(entry)))
                continue
            entries.append(self._finish_image(image, next(samples)))
        return entries

    def _finish_image(self, image: InputImage, sample: DetDataSample) -> dict[str, Any]:
        if self.settings['save_images']:
            draw_picture(image, sample, self.out_dir, self.meta, score_thr=self.settings['score_thr'],
                         min_side=self.settings['min_side'])
        return sample_entry(image, sample, self.meta, min_score=self.settings['min_score'])

    def _finish(self, images: Sequence[InputImage], journal: Journal) -> Path:
        entries = [journal.entries[image.name] for image in images]
        broken = [entry['name'] for entry in entries if 'error' in entry]
        if broken:
            print_log(f'{len(broken)} of {len(images)} images could not be read and were left out: '
                      f'{", ".join(broken[:10])}{" ..." if len(broken) > 10 else ""}', logger='current', level=WARNING)
        if len(broken) == len(images):
            journal.path.unlink()
            raise ValueError(f'none of the {len(images)} images could be read; the first: {entries[0]["error"]}')
        path = write_result(self.out_dir / RESULT_NAME, entries, self.meta)
        journal.path.unlink()
        print_log(f'{len(images) - len(broken)} images, {sum(len(e.get("records", ())) for e in entries)} objects: '
                  f'{path}', logger='current')
        return path


def sample_entry(image: InputImage, sample: DetDataSample, meta: dict[str, Any], *,
                 min_score: float = 0.0) -> dict[str, Any]:
    """What the result file keeps of one image: its COCO image record and result records."""
    height, width = sample.ori_shape[:2]
    records = to_records(sample, category_ids=meta.get('category_ids', ()), min_score=min_score)
    return dict(name=image.name, records=records, image=dict(
        id=int(sample.img_id), file_name=image.name, height=int(height), width=int(width)))


def draw_picture(image: InputImage, sample: DetDataSample, out_dir: Path, meta: dict[str, Any], *,
                 score_thr: float, min_side: int = 0) -> None:
    """Write the image with its predictions drawn into ``out_dir/vis``."""
    drawn = draw_instances(image.read(), sample, meta.get('classes'), meta.get('palette') or None, score_thr,
                           min_side=min_side)
    write_picture(out_dir / PICTURES / image.drawn_name, drawn)


def write_samples(images: Sequence[InputImage], samples: Sequence[DetDataSample], out_dir: Path, meta: dict[str, Any],
                  *, score_thr: float) -> Path:
    """Write pictures and the result file of samples that are at hand; return the path of the JSON."""
    for image, sample in zip(images, samples):
        draw_picture(image, sample, out_dir, meta, score_thr=score_thr)
    return write_result(out_dir / RESULT_NAME, [sample_entry(i, s, meta) for i, s in zip(images, samples)], meta)


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write a picture whole or not at all; the format follows the file name."""
    written, data = cv2.imencode(path.suffix, image)
    if not written:
        raise ValueError(f'{path}: OpenCV cannot write {path.suffix} files.')
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data.tobytes())


def identity_of(source: Any) -> str:
    """What tells two models apart: path, size and time of a file; text of a config."""
    if isinstance(source, (str, Path)):
        path = Path(source)
        stat = path.stat() if path.is_file() else None
        return f'{source} ({stat.st_size} bytes, {stat.st_mtime_ns})' if stat else str(source)
    if isinstance(source, Config):
        return hashlib.sha256(str(dict(source)).encode()).hexdigest()
    total = sum(float(value.double().sum()) for value in source.state_dict().values())
    return f'{type(source).__name__} ({total:.12g})'


def _digest(images: Sequence[InputImage]) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(f'{image.name}\0{image.path}\0'.encode())
        if image.array is not None:
            digest.update(image.array.tobytes())
    return f'{len(images)} images, {digest.hexdigest()[:16]}'
