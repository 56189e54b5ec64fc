"""Scenes of shapes that overlap: what is in them, and the picture with its exact masks.

Legend: H W pixels of the square picture, N objects. Everything is a function of the generator that is handed in.
"""
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .shapes import place_outline
from .textures import draw_surface, random_style

#: fractional bits of polygon corners in OpenCV's fill
SUBPIXEL_BITS = 4
#: stuff classes of the panoptic and semantic masks
STUFF = ('wall', 'floor')


@dataclass(frozen=True)
class Shape:
    """One object; lengths in pixels, angles in radians, speeds a frame."""

    name: str
    label: int
    centre: np.ndarray
    radius: float
    angle: float
    squeeze: float
    style: dict
    velocity: np.ndarray
    spin: float

    def outline(self) -> np.ndarray:
        """(P, 2) corners x, y."""
        return place_outline(self.name, centre=self.centre, radius=self.radius, angle=self.angle, squeeze=self.squeeze)

    def moved(self, size: int) -> 'Shape':
        """The shape one frame later; centres bounce off the picture's border."""
        centre = self.centre + self.velocity
        outside = (centre < 0) | (centre > size)
        velocity = np.where(outside, -self.velocity, self.velocity)
        return replace(self, centre=np.clip(centre, 0, size), velocity=velocity, angle=self.angle + self.spin)


@dataclass(frozen=True)
class Picture:
    """A drawn scene.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        owners: (H, W) uint8; which object is seen at the pixel (0 to N - 1), or 255.
        stuff: (H, W) uint8; index into ``STUFF`` of what lies behind.
        labels: (N,) int64.
    """

    image: np.ndarray
    owners: np.ndarray
    stuff: np.ndarray
    labels: np.ndarray

    def mask(self, index: int) -> np.ndarray:
        """(H, W) bool: the visible pixels of an object."""
        return self.owners == index


class Scene:
    """A background and shapes in painting order.

    Args:
        rng: source of everything random.
        size: side of the square picture in pixels, at least 32.
        classes: names from :data:`~maskforge.datasets.synthetic.shapes.OUTLINES`; label = position.
        max_objects: 1 to this many are tried; those that would hide another one too much are left out.
        min_visible: share of every object's pixels that stays visible in the first frame.
    """

    def __init__(self, rng: np.random.Generator, *, size: int, classes: tuple[str, ...], max_objects: int = 6,
                 min_visible: float = 0.4) -> None:
        self.size = size
        self.horizon = int(size * rng.uniform(0.35, 0.75))
        self.backgrounds = [random_style(rng, size=3 * size, kinds=('ramp', 'stripes', 'plain'), contrast=35)
                            for _ in STUFF]
        self.noise_seed = int(rng.integers(2**31))
        self.shapes = self._arrange(rng, classes, max_objects, min_visible)

    def draw(self, frame: int = 0) -> Picture:
        """Paint the scene as it stands; ``frame`` only changes the noise."""
        size = self.size
        canvas, stuff = self._draw_background()
        owners = np.full((size, size), 255, np.uint8)
        for index, shape in enumerate(self.shapes):
            window, fill = fill_outline(shape.outline(), size)
            x0, y0 = window[1].start, window[0].start
            surface = draw_surface(shape.style, height=fill.shape[0], width=fill.shape[1],
                                   x0=x0 - int(shape.centre[0]), y0=y0 - int(shape.centre[1]))
            np.copyto(canvas[window], surface, where=fill[..., None], casting='unsafe')
            owners[window][fill] = index
        noise = np.random.default_rng((self.noise_seed, frame)).integers(0, 17, canvas.shape, np.uint8)
        image = cv2.subtract(cv2.add(canvas, noise), (8, 8, 8, 0))
        return Picture(image, owners, stuff, np.array([shape.label for shape in self.shapes], np.int64))

    def advance(self) -> None:
        """Move every shape by one frame."""
        self.shapes = [shape.moved(self.size) for shape in self.shapes]

    def _arrange(self, rng: np.random.Generator, classes: tuple[str, ...], max_objects: int,
                 min_visible: float) -> list[Shape]:
        owners = np.full((self.size, self.size), 255, np.uint8)
        kept: list[Shape] = []
        areas: list[int] = []
        for _ in range(rng.integers(1, max_objects + 1)):
            shape = self._random_shape(rng, classes)
            window, fill = fill_outline(shape.outline(), self.size)
            before = owners[window].copy()
            owners[window][fill] = len(kept)
            seen = np.bincount(owners.ravel(), minlength=256)[:len(kept)]
            if (seen < min_visible * np.array(areas)).any():
                owners[window] = before
                continue
            kept.append(shape)
            areas.append(int(fill.sum()))
        return kept

    def _random_shape(self, rng: np.random.Generator, classes: tuple[str, ...]) -> Shape:
        label = int(rng.integers(len(classes)))
        radius = self.size * rng.uniform(0.09, 0.24)
        margin = 0.6 * radius
        return Shape(name=classes[label], label=label, centre=rng.uniform(margin, self.size - margin, 2),
                     radius=radius, angle=rng.uniform(0, 2 * np.pi), squeeze=rng.uniform(0.65, 1.0),
                     style=random_style(rng, size=self.size),
                     velocity=rng.uniform(-0.03, 0.03, 2) * self.size, spin=rng.uniform(-0.12, 0.12))

    def _draw_background(self) -> tuple[np.ndarray, np.ndarray]:
        size, cut = self.size, self.horizon
        canvas, stuff = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
        for index, (start, stop) in enumerate(((0, cut), (cut, size))):
            canvas[start:stop] = draw_surface(self.backgrounds[index], height=stop - start, width=size, y0=start)
            stuff[start:stop] = index
        return canvas, stuff


def fill_outline(points: np.ndarray, size: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """Fill a polygon inside a square picture.

    Returns:
        The window (rows, columns) of the picture that the polygon touches, and the (h, w) bool fill in it.
    """
    low = np.clip(np.floor(points.min(0)).astype(int) - 1, 0, size - 1)
    high = np.clip(np.ceil(points.max(0)).astype(int) + 2, low + 1, size)
    fill = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    corners = np.round((points - low) * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(fill, [corners], 1, shift=SUBPIXEL_BITS)
    return (slice(low[1], high[1]), slice(low[0], high[0])), fill.astype(bool)
