"""J&F over all objects of all videos, as numbers, table and CSV."""
import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from terminaltables import AsciiTable

from maskforge.formats.atomic_file import write_atomically

from .sequence_scores import ObjectScore

_GLOBAL = 'Global score'


class ScoredObject(NamedTuple):
    """One object of one video."""

    video: str
    name: str
    score: ObjectScore


@dataclass
class VosReport:
    """Scores of objects; every object counts the same, however many a video has.

    Attributes:
        objects: sorted by video, then object.
        left_out: one line for each object or video that could not count, with the reason.
    """

    objects: list[ScoredObject]
    left_out: list[str] = field(default_factory=list)

    def means(self) -> dict[str, float]:
        """``JF``, ``J`` and ``F`` in [0, 1].

        Raises:
            ValueError: there is no object.
        """
        if not self.objects:
            raise ValueError('there is no object to evaluate: no annotated frame that counts shows one. The first and '
                             'the last annotated frame of a video do not count unless they are asked for '
                             '(--do-not-skip-first-and-last-frame, skip_first_and_last=False).')
        region = float(np.mean([one.score.j for one in self.objects]))
        boundary = float(np.mean([one.score.f for one in self.objects]))
        return dict(JF=(region + boundary) / 2, J=region, F=boundary)

    def table(self, *, by: str = 'video') -> str:
        """A table in percent, with all objects together in the last line.

        Args:
            by: ``'object'`` has a line for each object, ``'video'`` the means of each video.
        """
        means = self.means()
        rows = [[one.video, one.name, str(one.score.frames), *_percent(one.score.jf, one.score.j, one.score.f)]
                for one in self.objects] if by == 'object' else self._video_rows()
        heads = {'object': ['video', 'object', 'frames'], 'video': ['video', 'objects', 'frames']}[by]
        last = [_GLOBAL, str(len(self.objects)), '', *_percent(*means.values())]
        return AsciiTable([[*heads, 'J&F', 'J', 'F'], *rows, last]).table

    def csv(self) -> str:
        """Columns ``sequence,obj,J&F,J,F`` in percent with one decimal; the global score is the first row."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator='\n')
        writer.writerow(['sequence', 'obj', 'J&F', 'J', 'F'])
        writer.writerow([_GLOBAL, '', *_percent(*self.means().values())])
        for one in self.objects:
            writer.writerow([one.video, one.name, *_percent(one.score.jf, one.score.j, one.score.f)])
        return stream.getvalue()

    def write_csv(self, path: str | Path) -> Path:
        """Write :meth:`csv`, atomically; returns the path."""
        return write_atomically(path, self.csv().encode('utf-8'))

    def _video_rows(self) -> list[list[str]]:
        rows = []
        for video in dict.fromkeys(one.video for one in self.objects):
            scores = [one.score for one in self.objects if one.video == video]
            means = np.mean([(score.jf, score.j, score.f) for score in scores], axis=0)
            rows.append([video, str(len(scores)), str(max(score.frames for score in scores)), *_percent(*means)])
        return rows


def _percent(*values: float) -> Iterable[str]:
    return [f'{100 * value:.1f}' for value in values]
