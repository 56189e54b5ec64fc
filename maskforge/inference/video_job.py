"""Objects followed through a video file or a folder of frames: masks as PNG, drawn frames."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from maskforge.formats.atomic_file import write_atomically
from maskforge.formats.vos_results import LAYOUTS, write_frame_masks
from maskforge.inference.job_progress import JobProgress
from maskforge.inference.load_model import load_model
from maskforge.inference.video_input import FrameFolder, VideoEnd, VideoFile, open_frames
from maskforge.inference.video_prompts import VideoPrompt, read_first_masks, read_video_prompts
from maskforge.models.sam2 import SAM2
from maskforge.models.sam2.frame_result import FrameResult
from maskforge.models.sam2.video_predictor import VideoPredictor
from maskforge.models.sam2.video_session import VideoSession
from maskforge.structures import InstanceMasks
from maskforge.visualization import draw_instances

MASKS, PICTURES = 'masks', 'vis'
Coded = dict[int, tuple[dict, float]]
WARNING = 30


def track_video(model: str | Path | Config | BaseModel, video: str | Path, out_dir: str | Path, *,
                prompts: str | Path | Sequence[VideoPrompt] | None = None, first_masks: str | Path | None = None,
                weights: str | Path | None = None, device: str | None = None, layout: str = 'palette',
                save_images: bool = True, max_frames: int | None = None, both_ways: bool = False,
                **settings: Any) -> Path:
    """Follow objects through a video and write their masks.

    Only a few frames are in memory at a time, whatever the length of the video.

    Args:
        model: config or checkpoint of a SAM 2, or such a model.
        video: a video file, or a folder of frames.
        out_dir: ``masks`` gets PNGs that are named as the frames are, ``vis`` drawn frames.
        prompts: JSON file of prompts (see :func:`~maskforge.inference.video_prompts.read_video_prompts`), or these.
        first_masks: PNG with object ids of the first frame, or a folder of such PNGs, named as their frames are.
        weights: checkpoint for a config.
        device: None takes CUDA where there is one.
        layout: 'palette', one PNG per frame with ids of objects, or 'objects', one folder per object.
        save_images: draw the frames.
        max_frames: stop after so many.
        both_ways: also follow objects backwards from their first prompt.
        settings: of :class:`~maskforge.models.sam2.video_predictor.VideoPredictor`.

    Returns:
        The folder of the masks.

    Raises:
        FileNotFoundError, ValueError: no video, no or bad prompts, a model of another kind; the message says which.
    """
    if (prompts is None) == (first_masks is None):
        raise ValueError('what is to be followed? Give prompts (a JSON file) or first_masks (PNGs), one of them.')
    if layout not in LAYOUTS:
        raise ValueError(f'layout={layout!r} is not one of {", ".join(LAYOUTS)}.')
    frames = open_frames(video)
    if first_masks is not None:
        given = read_first_masks(first_masks, frames.names)
    else:
        given = read_video_prompts(prompts) if isinstance(prompts, (str, Path)) else list(prompts)
    loaded = model if isinstance(model, BaseModel) else load_model(model, weights=weights, device=device)[0]
    session = make_video_predictor(loaded, dict(non_overlap_masks=layout == 'palette') | settings).open(frames)
    job = _TrackJob(session, frames, Path(out_dir), layout, save_images)
    try:
        job.run(given, max_frames=max_frames, both_ways=both_ways)
    except VideoEnd as error:
        print_log(f'{error} The result ends there too.', logger='current', level=WARNING)
    return Path(out_dir) / MASKS


class _TrackJob:
    """One video and where its results go."""

    def __init__(self, session: VideoSession, frames: FrameFolder | VideoFile, out_dir: Path, layout: str,
                 save_images: bool) -> None:
        self.session, self.frames, self.out_dir = session, frames, out_dir
        self.layout, self.save_images = layout, save_images

    def run(self, prompts: Sequence[VideoPrompt], *, max_frames: int | None, both_ways: bool) -> None:
        late = [prompt for prompt in prompts if prompt.frame >= len(self.frames)]
        if late:
            raise ValueError(f'object {late[0].object_id} is prompted on frame {late[0].frame}, but the video has '
                             f'{len(self.frames)} frames (from 0 on).')
        by_frame: dict[int, list[VideoPrompt]] = {}
        for prompt in prompts:
            by_frame.setdefault(prompt.frame, []).append(prompt)
        # objects that are followed backwards join frames that are written later, as run-length codes
        before = self._backwards(by_frame) if both_ways else {}
        start = min(by_frame)
        for frame in range(start):
            if frame in before:
                self._write(frame, before[frame])
        last = len(self.frames) if max_frames is None else min(start + max_frames, len(self.frames))
        with JobProgress(last - start, title='Tracking', unit='frames') as progress:
            for frame in range(start, last):
                for prompt in by_frame.get(frame, []):
                    give_prompt(self.session, prompt)
                self._write(frame, before.pop(frame, {}) | _coded(self.session.track(frame)))
                progress.advance(1)

    def _backwards(self, by_frame: dict[int, list[VideoPrompt]]) -> dict[int, Coded]:
        """From every object's first prompt to the beginning of the video."""
        first = {prompt.object_id: frame for frame in sorted(by_frame, reverse=True) for prompt in by_frame[frame]}
        found = {}
        for frame in range(max(first.values()), -1, -1):
            for prompt in by_frame.get(frame, []):
                if first[prompt.object_id] == frame:
                    give_prompt(self.session, prompt)
            found[frame] = {number: coded for number, coded in _coded(self.session.track(frame, reverse=True)).items()
                            if frame < first[number]}
        self.session.reset()
        return found

    def _write(self, frame: int, objects: Coded) -> None:
        name, size = self.frames.names[frame], self.session.source.size
        write_frame_masks(self.out_dir / MASKS, name, {number: rle for number, (rle, _) in objects.items()}, size=size,
                          layout=self.layout)
        if self.save_images:
            masks = InstanceMasks.from_rles([rle for rle, _ in objects.values()], *size)
            shown = InstanceData(bboxes=torch.from_numpy(masks.bboxes()), masks=masks,
                                 labels=torch.tensor(list(objects), dtype=torch.long),
                                 scores=torch.tensor([score for _, score in objects.values()]))
            drawn = draw_instances(self.frames[frame], shown[torch.from_numpy(masks.areas() > 0)], score_thr=0.)
            write_atomically(self.out_dir / PICTURES / f'{name}.jpg', cv2.imencode('.jpg', drawn)[1].tobytes())


def give_prompt(session: VideoSession, prompt: VideoPrompt) -> None:
    """Hand one prompt to a session."""
    if prompt.mask is not None:
        session.add_mask(prompt.frame, prompt.object_id, prompt.mask)
    else:
        session.add_points_or_box(prompt.frame, prompt.object_id, point_coords=prompt.points,
                                  point_labels=prompt.labels, box=prompt.box)


def make_video_predictor(model: BaseModel, settings: Mapping[str, Any]) -> VideoPredictor:
    """The predictor of a SAM 2, with the model's own normalisation.

    Raises:
        ValueError: another model.
    """
    if not isinstance(model, SAM2):
        raise ValueError(f'videos are followed by a SAM2 model, got a {type(model).__name__}.')
    normalisation = {name: getattr(model.data_preprocessor, name).flatten().tolist() for name in ('mean', 'std')}
    return VideoPredictor(model.network, **{**normalisation, **settings})


def _coded(result: FrameResult) -> Coded:
    """Object id -> RLE and score."""
    return {number: (rle, score) for number, rle, score in
            zip(result.object_ids, result.instance_masks().to_rles(), result.scores.tolist())}
