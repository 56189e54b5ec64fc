"""Prediction over many images, into a folder: drawn pictures and one COCO JSON; goes on after a kill."""
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
from mmengine import dist
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel

from maskforge.inference.class_map import named_by
from maskforge.inference.image_list import InputImage, Inputs, label_stems, list_images
from maskforge.inference.image_outputs import ImageOutputs
from maskforge.inference.job_progress import JobProgress
from maskforge.inference.load_model import load_model
from maskforge.inference.predictor import Predictor, make_predictor
from maskforge.inference.result_file import Journal, to_records, write_result
from maskforge.inference.segment_outputs import panoptic_record, write_panoptic_result
from maskforge.structures import DetDataSample

RESULT_NAME = 'predictions.json'
JOURNAL_NAME = 'predictions.journal'
WARNING = 30


def run_inference(model: str | Path | Config | BaseModel, inputs: Inputs, *, weights: str | Path | None = None,
                  out_dir: str | Path = 'results', batch_size: int = 1, device: str | None = None,
                  resume: bool = True, cfg: Config | None = None, tta: bool = False,
                  classmap: str | Path | None = None, **outputs: Any) -> Path:
    """Predict, draw and write ``out_dir/predictions.json`` (COCO: images, categories, annotations with scores).

    Panoptic segments go to ``panoptic.json`` and the PNGs of ``panoptic/``, semantic maps to the PNGs of ``semantic/``;
    see :mod:`maskforge.inference.segment_outputs`. Finished batches are kept in a journal: a job that was killed goes
    on where it stopped and ends with the same files. Broken images are named, counted and left out. In a process group
    the batches are shared; the files do not depend on the number of processes.

    Args:
        model: config, checkpoint or ONNX file (see :class:`~maskforge.inference.Inferencer`), or a loaded model
            together with ``cfg``.
        inputs: paths, folders, patterns, arrays, or a list of them.
        weights: checkpoint for a config.
        out_dir: folder of the results; pictures lie in its ``vis``, label files in its ``labels``.
        batch_size: images per forward pass.
        device: None takes CUDA where there is one.
        resume: go on from an earlier, interrupted job in ``out_dir``; False starts anew.
        cfg: config of a model that was handed over loaded.
        tta: test-time augmentation by ``tta_model`` and ``tta_pipeline`` of the config.
        classmap: text file with one class name a line, in place of the names that the model knows.
        **outputs: ``score_thr``, ``min_score``, ``conf_threshold``, ``save_images``, ``labels``, ``min_side``,
            ``color_map``, ``outline_width``; see :class:`~maskforge.inference.image_outputs.ImageOutputs`.

    Returns:
        Path of the JSON.

    Raises:
        ValueError: ``out_dir`` holds an interrupted job with another model, images or options; all images broken.
    """
    if batch_size < 1:
        raise ValueError(f'batch_size={batch_size} must be at least 1.')
    images, choice = list_images(inputs), ImageOutputs(**outputs)
    settings = dict(model=identity_of(model), weights=identity_of(weights) if weights else None, batch_size=batch_size,
                    tta=tta, classmap=identity_of(classmap) if classmap else None, images=_digest(images),
                    **choice.settings())
    loaded = (model, cfg) if isinstance(model, BaseModel) else load_model(model, weights=weights, device=device)
    job = _Job(make_predictor(*loaded, tta=tta), Path(out_dir), settings, choice, named_by(classmap, loaded[0]))
    return job.run(images, resume=resume)


class _Job:
    def __init__(self, predictor: Predictor, out_dir: Path, settings: dict[str, Any], outputs: ImageOutputs,
                 meta: Mapping[str, Any]) -> None:
        self.predictor, self.out_dir, self.settings, self.outputs = predictor, out_dir, settings, outputs
        self.meta = dict(meta)
        outputs.check(self.meta)

    def run(self, images: Sequence[InputImage], *, resume: bool) -> Path:
        rank, world = dist.get_rank(), dist.get_world_size()
        journal = self._journal(rank, resume=resume)
        self.stems, size = label_stems(images), self.settings['batch_size']
        # whole batches of the full list: what stands together in a batch does not depend on where a job was killed,
        # nor on how many processes share it
        batches = [list(range(start, min(start + size, len(images)))) for start in range(0, len(images), size)]
        own = batches[rank::world]
        todo = [batch for batch in own if not all(images[i].name in journal.entries for i in batch)]
        done = sum(map(len, own)) - sum(map(len, todo))
        if done:
            print_log(f'{self.out_dir}: {done} of {sum(map(len, own))} images were done before', logger='current')
        try:
            with JobProgress(sum(map(len, own)), done=done) as progress, ThreadPoolExecutor(1) as reader:
                self._run_batches(images, todo, journal, progress, reader)
        finally:
            journal.close()
        dist.barrier()
        if rank == 0:
            journal.read_beside()
            self._finish(images, journal)
        dist.barrier()
        return self.out_dir / RESULT_NAME

    def _journal(self, rank: int, *, resume: bool) -> Journal:
        """This process's journal, with what all processes of an earlier job have done."""
        name = f'{JOURNAL_NAME}.{rank}' if rank else JOURNAL_NAME
        if not resume and rank == 0:
            for path in self.out_dir.glob(f'{JOURNAL_NAME}*'):
                path.unlink()
        dist.barrier()
        journal = Journal(self.out_dir / name, self.settings, resume=resume, beside=f'{JOURNAL_NAME}*')
        # nobody writes before all have read what there was
        dist.barrier()
        return journal

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
        sample = self.outputs.kept(sample)
        self.outputs.write(image, sample, self.out_dir, self.meta, stem=self.stems[image.name])
        return sample_entry(image, sample, self.meta, stem=self.stems[image.name], min_score=self.outputs.written_from)

    def _finish(self, images: Sequence[InputImage], journal: Journal) -> None:
        entries = [journal.entries[image.name] for image in images]
        broken = [entry['name'] for entry in entries if 'error' in entry]
        if broken:
            print_log(f'{len(broken)} of {len(images)} images could not be read and were left out: '
                      f'{", ".join(broken[:10])}{" ..." if len(broken) > 10 else ""}', logger='current', level=WARNING)
        if len(broken) == len(images):
            journal.remove()
            raise ValueError(f'none of the {len(images)} images could be read; the first: {entries[0]["error"]}')
        path = write_result(self.out_dir / RESULT_NAME, entries, self.meta)
        write_panoptic_result(self.out_dir, entries, self.meta)
        journal.remove()
        objects = sum(len(entry.get('records', ())) for entry in entries)
        segments = sum(len(entry['panoptic']['segments_info']) for entry in entries if 'panoptic' in entry)
        print_log(f'{len(images) - len(broken)} images, {objects} objects'
                  f'{f", {segments} segments" if segments else ""}: {path}', logger='current')


def sample_entry(image: InputImage, sample: DetDataSample, meta: dict[str, Any], *, stem: str,
                 min_score: float = 0.0) -> dict[str, Any]:
    """What the result files keep of one image: its COCO image record, result records and panoptic record."""
    height, width = sample.ori_shape[:2]
    records = to_records(sample, category_ids=meta.get('category_ids', ()), min_score=min_score)
    entry = dict(name=image.name, records=records, image=dict(
        id=int(sample.img_id), file_name=image.name, height=int(height), width=int(width)))
    if 'pred_panoptic' in sample:
        entry['panoptic'] = panoptic_record(sample, meta, stem=stem, min_score=min_score)
    return entry


def write_samples(images: Sequence[InputImage], samples: Sequence[DetDataSample], out_dir: Path, meta: dict[str, Any],
                  outputs: ImageOutputs) -> Path:
    """Write the files of samples that are at hand, and the result files; return the path of the COCO JSON."""
    outputs.check(meta)
    stems = label_stems(images)
    for image, sample in zip(images, samples):
        outputs.write(image, sample, out_dir, meta, stem=stems[image.name])
    entries = [sample_entry(image, sample, meta, stem=stems[image.name], min_score=outputs.written_from)
               for image, sample in zip(images, samples)]
    write_panoptic_result(out_dir, entries, meta)
    return write_result(out_dir / RESULT_NAME, entries, meta)


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
