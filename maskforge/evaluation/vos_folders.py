"""J&F of a folder of predicted masks against a folder of true ones."""
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from maskforge.formats.vos_layout import MaskTrack, scan_masks

from .region_boundary import BOUND
from .sequence_scores import SequenceScores
from .vos_report import ScoredObject, VosReport

_SHOWN = 5


def evaluate_folders(gt_root: str | Path, pred_root: str | Path, *, num_workers: int = 16, strict: bool = False,
                     skip_first_and_last: bool = True, bound: float = BOUND,
                     progress: Callable[[int], None] | None = None) -> VosReport:
    """Score every video that both folders have.

    The layout is found per video: ``video/frame.png`` with object ids (DAVIS, MOSE) or ``video/object/frame.png`` with
    one object each (SA-V). There must be a prediction for every annotated frame that counts, of the same size.

    Args:
        gt_root: folder of the true masks, or one that has them in ``Annotations``.
        pred_root: folder of the predictions, in the layout of the truth.
        num_workers: threads; reading and counting run beside each other.
        strict: both folders must have the same videos.
        skip_first_and_last: leave out the first and the last annotated frame, as for DAVIS and SA-V.
        bound: tolerance of F as a part of the frame's diagonal.
        progress: called with the number of videos that were finished since.

    Raises:
        FileNotFoundError: a folder or a prediction is missing.
        ValueError: no common video, unequal ones with ``strict``, files that are no masks or differ in size.
    """
    if num_workers < 1:
        raise ValueError(f'num_workers={num_workers}: at least one is needed.')
    gt_root, pred_root = truth_root(Path(gt_root)), Path(pred_root)
    names = common_videos(gt_root, pred_root, strict=strict)
    found, left_out = [], []

    def score(name: str) -> tuple[list[ScoredObject], list[str]]:
        return score_video(gt_root / name, pred_root / name, skip_first_and_last=skip_first_and_last, bound=bound)

    with ThreadPoolExecutor(min(num_workers, len(names))) as pool:
        try:
            for objects, notes in pool.map(score, names):
                found += objects
                left_out += notes
                if progress is not None:
                    progress(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return VosReport(found, left_out)


def score_video(gt_folder: Path, pred_folder: Path, *, skip_first_and_last: bool = True,
                bound: float = BOUND) -> tuple[list[ScoredObject], list[str]]:
    """Score one video; returns its objects, and a line for each that is never seen in the frames that count."""
    objects, left_out = [], []
    for track in scan_masks(gt_folder):
        names = track.names[1:-1] if skip_first_and_last else track.names
        folder = pred_folder if track.object_name is None else pred_folder / track.object_name
        _require_predictions(track, names, folder)
        scores = SequenceScores(bound=bound)
        for name in names:
            truth, predicted = track.read(name), track.read(name, folder=folder)
            if truth.shape != predicted.shape:
                raise ValueError(f'{folder / name} has {predicted.shape[1]} x {predicted.shape[0]} pixels, its truth '
                                 f'{track.folder / name} has {truth.shape[1]} x {truth.shape[0]}. Predictions must be '
                                 'written at the size of the annotations.')
            scores.add_ids(predicted, truth)
        found = scores.scores()
        if not found:
            left_out.append(f'{track.folder}: the truth shows no object in the {len(names)} frames that count')
        objects += [ScoredObject(gt_folder.name, track.object_name or f'{number:03d}', score)
                    for number, score in found.items()]
    return objects, left_out


def truth_root(folder: Path) -> Path:
    """``folder`` itself, or the folder ``Annotations`` in it.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'folder of true masks {folder} does not exist.')
    return folder / 'Annotations' if (folder / 'Annotations').is_dir() else folder


def common_videos(gt_root: Path, pred_root: Path, *, strict: bool = False) -> list[str]:
    """Names of the sub-folders that both folders have.

    Raises:
        FileNotFoundError: ``pred_root`` does not exist.
        ValueError: there are none, or with ``strict`` the two differ.
    """
    if not pred_root.is_dir():
        raise FileNotFoundError(f'folder of predictions {pred_root} does not exist.')
    truth, predicted = _folders(gt_root), _folders(pred_root)
    if strict and truth != predicted:
        raise ValueError(f'the videos differ (strict): only in {gt_root}: {_some(truth - predicted)}; only in '
                         f'{pred_root}: {_some(predicted - truth)}.')
    if not truth & predicted:
        raise ValueError(f'no video is in both folders. {gt_root} has {_some(truth)}; {pred_root} has '
                         f'{_some(predicted)}. Both must hold one folder a video, of the same name (for DAVIS give '
                         'Annotations/480p or Annotations/Full-Resolution).')
    return sorted(truth & predicted)


def _folders(root: Path) -> set[str]:
    with os.scandir(root) as entries:
        return {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith('.')}


def _some(names: set[str]) -> str:
    shown = ', '.join(sorted(names)[:_SHOWN]) or 'none'
    return f'{shown} and {len(names) - _SHOWN} more' if len(names) > _SHOWN else shown


def _require_predictions(track: MaskTrack, names: tuple[str, ...], folder: Path) -> None:
    """Name what is missing before anything is read."""
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return
    if not folder.is_dir():
        hint = f'the folder {folder} does not exist'
    elif track.object_name is None and any(path.is_dir() for path in folder.iterdir()):
        hint = (f'{folder} has one folder an object, but the truth one PNG a frame; write them in the layout '
                "of the truth (layout='palette')")
    else:
        hint = 'frames without any object need an (all-black) file too'
    raise FileNotFoundError(f'{len(missing)} of {len(names)} predictions for {track.folder} are missing, first '
                            f'{folder / missing[0]}; {hint}.')
