"""Masks of a video drawn on its frames: an MP4, or pictures."""
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from maskforge.formats.atomic_file import write_atomically
from maskforge.formats.video_writer import VideoWriter
from maskforge.formats.vos_layout import scan_masks, split_ids
from maskforge.inference.video_input import open_frames
from maskforge.visualization.draw_objects import draw_objects


def run(video: str | Path, masks: str | Path, output: str | Path, *, fps: float | None = None, alpha: float = 0.45,
        contours: bool = True, show_ids: bool = True, palette: str | None = None, min_side: int = 0,
        codec: str = 'auto') -> Path:
    """Draw the masks of one video, true or predicted ones, on its frames; every object has its own colour.

    Args:
        video: video file, or folder of frames.
        masks: folder of FRAME.png with object ids, or of OBJECT/FRAME.png with one object each. Frames without a file
            are shown as they are.
        output: a name that ends in .mp4, or a folder for one JPEG a frame.
        fps: frames per second of an MP4; by default those of the video file, or 24.
        alpha: opacity of the colours.
        contours: draw outlines.
        show_ids: write the numbers of objects.
        palette: 'davis' for the colours of DAVIS' files.
        min_side: enlarge smaller frames to this shorter side.
        codec: 'h264' (needs PyAV), 'mp4v', or 'auto' for the first of them that there is.

    Returns:
        ``output``.

    Raises:
        FileNotFoundError, ValueError: no frames, no masks, masks that belong to no frame or have another size.
    """
    frames, output = open_frames(video), Path(output)
    found = _masks_by_frame(masks, frames.names)
    drawn = (draw_objects(frames[place], _read(found.get(name, [])), alpha=alpha, contours=contours, show_ids=show_ids,
                          palette=palette, min_side=min_side) for place, name in enumerate(frames.names))
    if output.suffix.lower() == '.mp4':
        with VideoWriter(output, fps=fps or frames.fps, codec=codec) as writer:
            for picture in drawn:
                writer.add(picture)
    else:
        for name, picture in zip(frames.names, drawn):
            write_atomically(output / f'{name}.jpg', cv2.imencode('.jpg', picture)[1].tobytes())
    return output


def _masks_by_frame(folder: str | Path, names: tuple[str, ...]) -> Mapping[str, list]:
    """Name of a frame -> (track, file name) of its masks."""
    found: dict[str, list] = {}
    for track in scan_masks(folder):
        for name in track.names:
            found.setdefault(Path(name).stem, []).append((track, name))
    if not set(found) & set(names):
        raise ValueError(f'none of the masks in {folder} (such as {min(found)}.png) belongs to a frame of the video '
                         f'(such as {names[0]}); masks need the names of their frames.')
    return found


def _read(files: list) -> dict[int, np.ndarray]:
    return dict(_objects(files))


def _objects(files: list) -> Iterator[tuple[int, np.ndarray]]:
    for place, (track, name) in enumerate(files, 1):
        ids = track.read(name)
        if track.object_name is None:
            yield from split_ids(ids).items()
        else:
            yield int(track.object_name) if track.object_name.isdecimal() else place, ids
