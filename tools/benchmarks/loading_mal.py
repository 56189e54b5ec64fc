"""MAL's box crops: ours, and the recipe written with mmcv's functions, which reads the image anew for every box.

Cut the box out with random margins, going on at the other side beyond the image, resize to 512 x 512, flip, pack.
"""
from pathlib import Path

import mmcv
import numpy as np
import torch
from loading_recipe import LoadingRecipe, seeded_items

from maskforge.registry import DATASETS

SIDE = 512


def our_dataset(root: Path, **settings):
    """Boxes of the drawn files; those of an image follow one another, as the sampler gives them."""
    dataset = DATASETS.build(dict(
        type='BoxCropDataset', data_root=str(root), ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'), crop_size=SIDE, min_obj_size=0, **settings))
    dataset.full_init()
    return dataset


def their_crop(path: str, box: tuple[float, ...], margins: np.ndarray, flip: bool) -> dict:
    """One box: its crop as a tensor, and the box in it."""
    image = mmcv.imread(path)
    center_x, center_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half_width, half_height = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    left, top = (int(np.floor(value)) for value in (center_x - half_width * (1 + margins[0]),
                                                    center_y - half_height * (1 + margins[1])))
    right, bottom = (int(np.ceil(value + 1)) for value in (center_x + half_width * (1 + margins[2]),
                                                           center_y + half_height * (1 + margins[3])))
    crop = image.take(range(top, bottom), axis=0, mode='wrap').take(range(left, right), axis=1, mode='wrap')
    filter_name = 'area' if min(crop.shape[:2]) >= SIDE else 'bilinear'
    crop = mmcv.imresize(crop, (SIDE, SIDE), interpolation=filter_name)
    x, y = SIDE / (right - left), SIDE / (bottom - top)
    inside = [(box[0] - left) * x, (box[1] - top) * y, (box[2] - left) * x, (box[3] - top) * y]
    if flip:
        crop, inside = mmcv.imflip(crop), [SIDE - inside[2], inside[1], SIDE - inside[0], inside[3]]
    return dict(inputs=torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))), box=torch.tensor(inside))


def check(root: Path, records: list[dict]) -> str:
    """Compare all crops of the test recipe.

    Raises:
        RuntimeError: a crop or a box in it differs.
    """
    dataset = our_dataset(root, test_mode=True)
    for index, record in enumerate(records):
        mine, want = dataset[index], their_crop(record['img_path'], record['box'], np.full(4, 0.3), False)
        box = torch.tensor(mine['data_samples'].box_in_crop)
        if not torch.equal(mine['inputs'], want['inputs']) or (box - want['box']).abs().max() > 1e-3:
            raise RuntimeError(f'{record["img_path"]}: crops or boxes differ.')
    return 'crops equal, boxes within 1e-3'


def recipe(root: Path) -> LoadingRecipe:
    """Check and return the two sides."""
    dataset = our_dataset(root)
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    note = check(root, records)

    def run_theirs() -> None:
        random = np.random.default_rng(0)
        for record in records:
            share = random.random(2)
            margins = random.uniform(0, 1.2, 4) * (*share, *(1 - share))
            their_crop(record['img_path'], record['box'], margins, random.random() < 0.5)

    return LoadingRecipe(f'MAL, boxes to {SIDE}x{SIDE}', seeded_items(dataset, len(dataset)), run_theirs, 'mmcv',
                         len(dataset), note)
