"""SAM 2's clips: ours, and the recipe written with Pillow and torchvision.

Flip, turn and shear, resize to 1024 x 1024, change colours once for the clip, grey, change colours for each frame, pack
as uint8. The recipe moves the pixels of the whole frame, then resizes; ours samples them once at the size that is
wanted, so its frames are less blurred.
"""
from pathlib import Path

import numpy as np
import torch
from loading_recipe import LoadingRecipe, seeded_items, smallest_overlap
from PIL import Image
from torchvision.transforms import functional as TF

from maskforge.registry import DATASETS

SIDE, DEGREES, SHEAR, FILL = 1024, 25, 20, (123, 116, 103)


def our_dataset(clips: Path, frames: int, *, flip: float, degrees: tuple, shear: tuple, jitter: list[dict]):
    """``configs/sam2/sam2.1_hiera-b+_mose-finetune.py``'s pipeline over the drawn clips."""
    pipeline = [dict(type='ClipRandomFlip', prob=flip), dict(type='ClipRandomAffine', degrees=degrees, shear=shear),
                dict(type='ClipResize', sizes=SIDE, square=True), *jitter, dict(type='PackClip')]
    return DATASETS.build(dict(
        type='VOSDataset', pipeline=pipeline, multiplier=1,
        video_dataset=dict(type='PNGRawDataset', img_folder=str(clips / 'JPEGImages'),
                           gt_folder=str(clips / 'Annotations')),
        sampler=dict(type='RandomUniformSampler', num_frames=frames, max_num_objects=3)))


def their_clip(clips: Path, video: str, names: list[str], ids: list[int], *, flip: bool, angle: float, shear: float,
               rng: np.random.Generator | None) -> dict:
    """One clip: (T, 3, H, W) uint8 RGB and (T, O, H, W) bool; without ``rng`` the colours stay."""
    draws = None if rng is None else draw_colours(rng)
    images, masks = [], []
    for name in names:
        frame = Image.open(clips / 'JPEGImages' / video / f'{name}.jpg').convert('RGB')
        palette = np.array(Image.open(clips / 'Annotations' / video / f'{name}.png'))
        planes = [Image.fromarray((palette == number).astype(np.uint8) * 255) for number in ids]
        moved = [move(frame, flip, angle, shear, TF.InterpolationMode.BILINEAR, FILL)]
        moved += [move(plane, flip, angle, shear, TF.InterpolationMode.NEAREST, 0) for plane in planes]
        frame, *planes = [TF.resize(item, [SIDE, SIDE], TF.InterpolationMode.BILINEAR) for item in moved]
        if draws is not None:
            frame = change_colours(frame, draws)
            frame = TF.rgb_to_grayscale(frame, 3) if draws['grey'] else frame
            frame = change_colours(frame, draw_colours(rng))
        images.append(TF.pil_to_tensor(frame))
        masks.append(torch.cat([TF.pil_to_tensor(plane) for plane in planes]) > 127)
    return dict(inputs=torch.stack(images), masks=torch.stack(masks))


def move(image: Image.Image, flip: bool, angle: float, shear: float, mode: TF.InterpolationMode,
         fill: int | tuple) -> Image.Image:
    """Flip and warp at the size that the frame has."""
    image = TF.hflip(image) if flip else image
    return TF.affine(image, angle, [0, 0], 1., [shear, 0.], interpolation=mode, fill=fill)


def draw_colours(rng: np.random.Generator) -> dict:
    """Factors of brightness, contrast and saturation, their order, and whether colours go."""
    return dict(order=rng.permutation(3), factors=[rng.uniform(1 - reach, 1 + reach) for reach in (0.1, 0.03, 0.03)],
                grey=rng.random() < 0.05)


def change_colours(image: Image.Image, draws: dict) -> Image.Image:
    """By torchvision's functions, in the order that was drawn."""
    steps = TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation
    for index in draws['order']:
        image = steps[index](image, draws['factors'][index])
    return image


def check(clips: Path, frames: int, videos: list[str]) -> str:
    """Compare all clips, flipped and not, turned by 10 degrees and sheared by 5, without changes of colour.

    Raises:
        RuntimeError: frames differ by more than 3 of 255 on average, or masks by an IoU below 0.9.
    """
    worst, gap = 1.0, 0.0
    for flip in (0.0, 1.0):
        dataset = our_dataset(clips, frames, flip=flip, degrees=(10, 10), shear=(5, 5), jitter=[])
        for index, video in enumerate(videos):
            mine = dataset[index]
            sample = mine['data_samples']
            want = their_clip(clips, video, list(sample.frame_names), sample.object_ids.tolist(),
                              flip=bool(flip), angle=10, shear=5, rng=None)
            gap = max(gap, (mine['inputs'].flip(1).float() - want['inputs']).abs().mean().item())
            worst = min(worst, smallest_overlap(sample.gt_masks.flatten(0, 1).numpy(),
                                                want['masks'].flatten(0, 1).numpy()))
    if gap > 3 or worst < 0.9:
        raise RuntimeError(f'the clips differ: grey levels by {gap:.2f} on average, masks IoU {worst:.3f}')
    return f'frames within {gap:.2f} of 255 on average (sampled once, not twice), masks IoU >= {worst:.3f}'


def recipe(clips: Path, frames: int) -> LoadingRecipe:
    """Check and return the two sides."""
    videos = sorted(path.name for path in (clips / 'JPEGImages').iterdir())
    note = check(clips, frames, videos)
    jitter = [dict(type='ClipColorJitter', brightness=0.1, contrast=0.03, saturation=0.03),
              dict(type='ClipRandomGrayscale', prob=0.05),
              dict(type='ClipColorJitter', brightness=0.1, contrast=0.05, saturation=0.05, consistent=False)]
    dataset = our_dataset(clips, frames, flip=0.5, degrees=(-DEGREES, DEGREES), shear=(-SHEAR, SHEAR), jitter=jitter)
    names = [f'{number:05d}' for number in range(frames)]

    def run_theirs() -> None:
        rng = np.random.default_rng(0)
        for video in videos:
            # as the sampler: up to three of the objects that the first frame shows
            seen = np.unique(np.array(Image.open(clips / 'Annotations' / video / f'{names[0]}.png')))
            ids = seen[seen > 0]
            ids = rng.permutation(ids)[:3].tolist()
            their_clip(clips, video, names, ids, flip=bool(rng.random() < 0.5), angle=rng.uniform(-DEGREES, DEGREES),
                       shear=rng.uniform(-SHEAR, SHEAR), rng=rng)

    return LoadingRecipe(f'SAM 2, clips of {frames} frames to {SIDE}x{SIDE}', seeded_items(dataset, len(videos)),
                         run_theirs, 'Pillow and torchvision', frames * len(videos), note)
