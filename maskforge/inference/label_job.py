"""Masks for all boxes of a data set: boxes in, the same file with masks out; on one process or on many machines.

    boxes as columns -> chunks of fixed size -> batches -> model -> one journal file per chunk -> the input with masks
"""
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, get_rank, get_world_size, is_main_process
from mmengine.logging import print_log
from mmengine.model import BaseModel

from maskforge.inference.batch_job import identity_of
from maskforge.inference.box_table import BoxTable, flag, read_boxes
from maskforge.inference.job_lock import JobLock
from maskforge.inference.job_progress import JobProgress
from maskforge.inference.label_journal import LabelJournal
from maskforge.inference.label_loader import BoxBatch, BoxBatches, load_batches
from maskforge.inference.label_output import LabelOutput
from maskforge.inference.label_record import failed_entry, label_entry
from maskforge.inference.load_model import load_model
from maskforge.inference.review_page import write_review
from maskforge.models.sam2 import SAM2

WARNING = 30


def label_boxes(model: str | Path | Config | BaseModel, ann_file: str | Path, img_dir: str | Path, out: str | Path, *,
                weights: str | Path | None = None, images_json: str | Path | None = None, batch_size: int = 8,
                num_workers: int = 0, chunk_size: int = 256, clip_to_box: bool = False, load_mask: bool = False,
                min_score: float | None = None, review: int = 500, device: str | None = None, resume: bool = True,
                cfg: Config | None = None) -> Path:
    """Label every box of a COCO file with a mask.

    Each annotation keeps its fields and gets ``segmentation`` (RLE), ``area`` (of the mask), ``quality`` in [0, 1] and
    ``flags``; boxes that cannot be labelled stay, with a flag that says why, ``quality`` None and ``ignore`` 1. A job
    that was killed goes on where it stopped, a finished one is not done again (``<out>.job`` keeps its settings). The
    output does not depend on the number of processes.

    Args:
        model: config or checkpoint of a model that predicts one mask per box (MAL), or such a model with its ``cfg``.
        ann_file: COCO JSON with boxes, or a COCO results list of another model's detections.
        img_dir: folder of the images.
        out: the COCO JSON to write. With several machines it lies on a disk that all share.
        weights: checkpoint for a config.
        images_json: for a results list: COCO JSON with its images and categories.
        batch_size: boxes per forward pass.
        num_workers: processes that read images and cut out boxes; 0 uses the labelling process itself.
        chunk_size: boxes that are labelled again at most after a kill.
        clip_to_box: cut off what of a mask lies outside its box.
        load_mask: compare with the masks of the input: ``iou`` of each.
        min_score: detections below it are left out.
        review: how many boxes the review page shows, worst first; 0 writes none, -1 shows all.
        device: None takes CUDA where there is one.
        resume: go on from a started job, leave a finished one as it is; False starts anew.
        cfg: config of a model that was handed over loaded.

    Returns:
        ``out``.

    Raises:
        ValueError: no boxes or none that can be labelled, a SAM 2 that is prompted by something else, settings that
            contradict the started or finished job, another job that writes ``out`` at this moment.
        FileNotFoundError: the input or all images are missing.
    """
    settings = dict(batch_size=batch_size, chunk_size=chunk_size, clip_to_box=clip_to_box, load_mask=load_mask,
                    min_score=min_score)
    for name in ('batch_size', 'chunk_size'):
        if settings[name] < 1:
            raise ValueError(f'{name}={settings[name]} must be at least 1.')
    table = read_boxes(ann_file, images_json, min_score=min_score, load_mask=load_mask)
    _flag_missing_images(table, Path(img_dir))
    loaded, cfg = (model, cfg) if isinstance(model, BaseModel) else load_model(model, weights=weights, device=device)
    _check_prompts(loaded)
    settings.update(model=_identity(loaded, cfg, weights or model), boxes=_digest(ann_file),
                    images=images_json and _digest(images_json), img_dir=str(img_dir))
    out = Path(out)
    with _opened_journal(out, settings, resume=resume) as journal:
        if journal is None:
            return out
        chunks = _LabelJob(loaded, BoxBatches(cfg, table, img_dir, []), settings).run(journal, num_workers)
        barrier()
        if is_main_process():
            _finish(journal, chunks, LabelOutput(ann_file, images_json, table, journal.results(chunks, len(table)),
                                                 load_mask=load_mask), out, img_dir, review)
        barrier()
    return out


def _check_prompts(model: BaseModel) -> None:
    prompts = model.image_prompting.prompts if isinstance(model, SAM2) else None
    if prompts not in (None, 'boxes'):
        raise ValueError(f"model.test_cfg.prompts={prompts!r} gives no mask of every box, which is what labelling "
                         "writes; set it to 'boxes' (--cfg-options model.test_cfg.prompts=boxes) or leave it out.")


def _flag_missing_images(table: BoxTable, img_dir: Path) -> None:
    """Flag the boxes of images that are not there; the first process looks, so that all agree."""
    used = np.unique(table.image_rows[table.order()]).tolist()
    if not used:
        raise ValueError(f'none of the {len(table)} boxes can be labelled: all are malformed, without extent, outside '
                         f'their image, of an unknown image, crowds or below min_score.')
    answer = [None]
    if is_main_process():
        answer = [[row for row in used if not (img_dir / table.images.names[row]).is_file()]]
    broadcast_object_list(answer)
    missing = answer[0]
    if len(missing) == len(used):
        raise FileNotFoundError(f'none of the {len(used)} images with boxes is in img_dir={img_dir}; the first would '
                                f'be {img_dir / table.images.names[used[0]]}.')
    if missing:
        names = ', '.join(table.images.names[row] for row in missing[:5])
        print_log(f'{len(missing)} of {len(used)} images are missing, their boxes are flagged: {names}'
                  f'{" ..." if len(missing) > 5 else ""}', logger='current', level=WARNING)
        table.flags[np.isin(table.image_rows, missing)] |= flag('image_missing')


def _identity(model: BaseModel, cfg: Config, source: Any) -> str:
    """Model, crops and weights, as far as the masks depend on them."""
    parts = Config(dict(model=cfg.get('model'), dataset=(cfg.get('test_dataloader') or {}).get('dataset')))
    weights = source if isinstance(source, (str, Path)) else cfg.get('load_from') or model
    return f'{identity_of(parts)[:16]} {identity_of(weights)}'


def _digest(path: str | Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


@contextmanager
def _opened_journal(out: Path, settings: dict[str, Any], *, resume: bool) -> Iterator[LabelJournal | None]:
    """Locked and opened by the first process, whose error becomes everybody's; None for a job that is finished."""
    journal, lock, answer = LabelJournal(out), JobLock(out), [None, False]
    try:
        if is_main_process():
            try:
                out.parent.mkdir(parents=True, exist_ok=True)
                lock.take()
                answer[1] = journal.open(settings, resume=resume)
            except ValueError as error:
                answer[0] = str(error)
        broadcast_object_list(answer)
        error, is_finished = answer
        if error:
            raise ValueError(error)
        if is_finished:
            print_log(f'{out} is finished: the same boxes, weights and settings were labelled before. resume=False '
                      f'(--overwrite) labels them again.', logger='current')
            yield None
        else:
            journal.check_shared()
            yield journal
    finally:
        lock.release()


class _LabelJob:
    """The chunks that fall to this process."""

    def __init__(self, model: BaseModel, batches: BoxBatches, settings: dict[str, Any]) -> None:
        self.model, self.batches, self.table, self.settings = model, batches, batches.table, settings

    def run(self, journal: LabelJournal, num_workers: int) -> int:
        """Label what is not done; returns the number of chunks of the whole job."""
        rows, size = self.table.order(), self.settings['chunk_size']
        chunks = [rows[start:start + size] for start in range(0, len(rows), size)]
        pending = [[chunk for chunk, done in enumerate(journal.done(len(chunks))) if not done]]
        broadcast_object_list(pending)  # a chunk that another process has just finished must not shift the shares
        mine = pending[0][get_rank()::get_world_size()]
        if len(pending[0]) < len(chunks):
            print_log(f'{len(chunks) - len(pending[0])} of {len(chunks)} chunks were done before', logger='current')
        progress = JobProgress(sum(len(chunks[chunk]) for chunk in mine), title='Labelling', unit='boxes')
        with _same_on_any_number_of_processes(self.model), progress:
            self._label(journal, {chunk: chunks[chunk] for chunk in mine}, num_workers, progress)
        return len(chunks)

    def _label(self, journal: LabelJournal, chunks: dict[int, np.ndarray], num_workers: int,
               progress: JobProgress) -> None:
        size = self.settings['batch_size']
        parts = [(chunk, rows[start:start + size], start + size >= len(rows))
                 for chunk, rows in chunks.items() for start in range(0, len(rows), size)]
        self.batches.batches = [rows for _, rows, _ in parts]
        entries: list[dict[str, Any]] = []
        for (chunk, rows, is_last), batch in zip(parts, load_batches(self.batches, num_workers=num_workers)):
            entries += self._predict(batch)
            if is_last:
                journal.add(chunk, entries)
                entries = []
            progress.advance(len(rows))

    def _predict(self, batch: BoxBatch) -> list[dict[str, Any]]:
        entries = [failed_entry(row, reason) for row, reason in batch.failed]
        if not batch.rows:
            return entries
        data = dict(inputs=[sample['inputs'] for sample in batch.samples],
                    data_samples=[sample['data_samples'] for sample in batch.samples])
        with torch.no_grad():
            samples = self.model.test_step(data)
        for row, sample in zip(batch.rows, samples):
            size = self.table.size_of(int(self.table.image_rows[row]))
            entries.append(label_entry(row, sample, self.table.boxes[row].tolist(), size,
                                       clip_to_box=self.settings['clip_to_box']))
        return entries


@contextmanager
def _same_on_any_number_of_processes(model: BaseModel) -> Iterator[None]:
    """On the CPU, sums depend on the number of threads: take one. On GPUs, take cuDNN's deterministic kernels."""
    threads, deterministic = torch.get_num_threads(), torch.backends.cudnn.deterministic
    if all(tensor.device.type == 'cpu' for tensor in model.state_dict().values()):
        torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = deterministic
        torch.set_num_threads(threads)


def _finish(journal: LabelJournal, chunks: int, output: LabelOutput, out: Path, img_dir: str | Path,
            review: int) -> None:
    missing = [chunk for chunk, done in enumerate(journal.done(chunks)) if not done]
    if missing:
        raise RuntimeError(f'{journal.folder}: chunks {_short(missing)} are missing, so a process ended early; start '
                           f'the same command again.')
    summary = output.write(out)
    output.results.close()
    print_log(f'{out}: {summary}', logger='current')
    if review:
        page = write_review(out, img_dir, count=None if review < 0 else review)
        print_log(f'worst masks first: {page}', logger='current')
    journal.finish()


def _short(numbers: Sequence[int]) -> str:
    return ', '.join(map(str, numbers[:5])) + (' ...' if len(numbers) > 5 else '')
