"""Videos segmented by a simulated user, who corrects the worst frame in every round (Ravi et al. 2024, section 6.1)."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from maskforge.config import load_config
from maskforge.evaluation.region_boundary import region_and_boundary
from maskforge.formats import rle
from maskforge.formats.json_file import write_json
from maskforge.inference.load_model import load_model
from maskforge.inference.video_job import make_video_predictor
from maskforge.models.sam2.center_click import center_click
from maskforge.models.sam2.frame_result import FrameResult
from maskforge.models.sam2.video_session import VideoSession
from maskforge.registry import DATASETS, SCOPE
from maskforge.structures import VideoMasks


@dataclass
class InteractiveScores:
    """Scores after each round, objects' mean.

    Attributes:
        j, f: region similarity and boundary accuracy, in [0, 1].
        frames: object id -> the frames that were clicked, one per round.
    """

    j: list[float] = field(default_factory=list)
    f: list[float] = field(default_factory=list)
    frames: dict[int, list[int]] = field(default_factory=dict)

    @property
    def j_and_f(self) -> list[float]:
        """Mean of J and F after each round."""
        return [(j + f) / 2 for j, f in zip(self.j, self.f)]


def evaluate_interactive(model: BaseModel, videos: Iterable[dict[str, Any]], *, rounds: int = 8,
                         clicks_per_frame: int = 3, **settings: Any) -> dict[str, float]:
    """Return ``J&F_1`` ... ``J&F_<rounds>``, ``J_...``, ``F_...``: means over all objects of all videos, in 0 .. 100.

    Args:
        model: a SAM 2.
        videos: items of a validation data set: ``inputs`` and ``data_samples`` with ``gt_frames``.
        rounds, clicks_per_frame, settings: see :func:`click_through_video`.

    Raises:
        ValueError: no videos, or one whose annotations show no object.
    """
    scores = [click_through_video(model, video, rounds=rounds, clicks_per_frame=clicks_per_frame, **settings)
              for video in videos]
    if not scores:
        raise ValueError('there is no video to evaluate.')
    weights = [len(one.frames) for one in scores]
    found = {}
    for name, attribute in (('J&F', 'j_and_f'), ('J', 'j'), ('F', 'f')):
        means = np.average([getattr(one, attribute) for one in scores], axis=0, weights=weights)
        found.update({f'{name}_{number}': 100 * float(value) for number, value in enumerate(means, 1)})
    return found


def click_through_video(model: BaseModel, video: dict[str, Any], *, rounds: int = 8, clicks_per_frame: int = 3,
                        **settings: Any) -> InteractiveScores:
    """Segment the objects of one video in rounds of clicks.

    In the first round every object is clicked on the first annotated frame that shows it, in each further one on the
    annotated frame where its J is lowest; the clicks lie where the mask is most wrong (see
    :func:`~maskforge.models.sam2.center_click.center_click`). After each round the objects are followed to both ends
    of the video, from the first clicked frame on and back from there.

    Args:
        video: ``inputs`` and ``data_samples`` with ``gt_frames``.
        settings: of :class:`~maskforge.models.sam2.video_predictor.VideoPredictor`; all memories of a video are kept
            (``history=None``), so that corrections see what tracking saw.

    Raises:
        ValueError: less than one round or click; annotations that show no object.
    """
    if rounds < 1 or clicks_per_frame < 1:
        raise ValueError(f'rounds={rounds} and clicks_per_frame={clicks_per_frame} must be at least 1.')
    truth = video['data_samples'].gt_frames
    first = truth.first_frames()
    if not first:
        raise ValueError(f"video {video['data_samples'].metainfo.get('video_name')!r}: its annotations show no object.")
    session = make_video_predictor(model, dict(settings, history=None)).open(video['inputs'])
    scores, worst = InteractiveScores(frames={number: [] for number in first}), dict(first)
    for _ in range(rounds):
        for number, frame in worst.items():
            scores.frames[number].append(frame)
            _click(session, number, frame, truth[frame].get(number), clicks_per_frame)
        masks = _follow(session, truth)
        values = {number: {frame: _compare(masks, truth, frame, number) for frame in truth} for number in first}
        worst = {number: min(by_frame, key=lambda frame: by_frame[frame][0]) for number, by_frame in values.items()}
        means = np.mean([np.mean(list(by_frame.values()), axis=0) for by_frame in values.values()], axis=0)
        scores.j.append(float(means[0]))
        scores.f.append(float(means[1]))
    return scores


def _click(session: VideoSession, number: int, frame: int, truth: np.ndarray | None, clicks: int) -> None:
    known = session.last_mask(frame, number)
    truth = np.zeros(session.source.size, bool) if truth is None else np.asarray(truth, bool)
    for index in range(clicks):
        x, y, label = center_click(truth, known)
        result = session.add_points_or_box(frame, number, point_coords=[[x, y]], point_labels=[label],
                                           clear_old_points=index == 0)
        known = result.masks[0].cpu().numpy()


def _follow(session: VideoSession, truth: VideoMasks) -> dict[tuple[int, int], dict]:
    """(frame, object) -> RLE on the annotated frames."""
    masks: dict[tuple[int, int], dict] = {}
    annotated = set(truth)

    def keep(result: FrameResult) -> None:
        if result.frame in annotated:
            masks.update({(result.frame, number): code for number, code in
                          zip(result.object_ids, result.instance_masks().to_rles())})

    for reverse in (True, False):
        start = session.first_prompted_frame()
        for result in session.propagate(start, reverse=reverse, from_first_prompt=False):
            keep(result)
    return masks


def _compare(masks: dict[tuple[int, int], dict], truth: VideoMasks, frame: int, number: int) -> tuple[float, float]:
    found = rle.decode(masks[frame, number]).astype(bool)
    return region_and_boundary(found, truth[frame].get(number, np.zeros_like(found)))


def run(config: str, *, weights: str | None = None, rounds: int = 8, clicks_per_frame: int = 3,
        device: str | None = None, out: str | None = None, options: Sequence[str] = ()) -> dict[str, float]:
    """Evaluate interactive video segmentation: clicks on the worst frame of every object, in rounds.

    Args:
        config: config whose test_dataloader.dataset is a WholeVideoDataset.
        weights: checkpoint; the config's load_from by default.
        rounds: rounds of clicks.
        clicks_per_frame: clicks on an object's worst frame in each round.
        device: cpu, cuda:1 ...; a GPU where there is one.
        out: JSON file to write the scores to.
        options: changes of the config.

    Returns:
        ``J&F_1``, ``J_1``, ``F_1`` ... after each round.

    Raises:
        ValueError: a data set of another kind.
    """
    cfg = load_config(config, options=options)
    model, cfg = load_model(cfg, weights=weights, device=device)
    settings = (cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}).get('dataset')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or SCOPE):
        dataset = DATASETS.build(settings) if settings else []
    if not len(dataset) or 'gt_frames' not in dataset[0]['data_samples']:
        raise ValueError(f'{config}: test_dataloader.dataset must be a WholeVideoDataset with annotated frames.')
    scores = evaluate_interactive(model, (dataset[index] for index in range(len(dataset))), rounds=rounds,
                                  clicks_per_frame=clicks_per_frame)
    if out:
        write_json(scores, out, indent=2)
    return scores
