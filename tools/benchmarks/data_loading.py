"""Images per second of our train pipelines against the same recipes written with mmcv, Pillow and torchvision.

Both sides read the same drawn data set in one process, after their results were compared; how each recipe is written
on the other side says its module here (loading_*.py).

    python tools/benchmarks/data_loading.py --images 24 --size 480 --recipe sam2
"""
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import loading_mal
import loading_mask2former
import loading_mask_rcnn
import loading_sam2
from benchmark_arguments import finish, parser, timing
from loading_recipe import LoadingRecipe

from maskforge.analysis.ratio_table import RatioTable, compare_seconds, machine_line, time_in_turns
from maskforge.datasets.synthetic import DrawnShapes, draw_shapes

#: frames of a clip, and the height and width of its files
CLIP_LENGTH, CLIP_SIZE = 4, 960
RECIPES: dict[str, Callable[[DrawnShapes], LoadingRecipe]] = {
    'mask-rcnn': lambda drawn: loading_mask_rcnn.recipe(drawn.root),
    'mask2former': lambda drawn: loading_mask2former.recipe(drawn.root),
    'mal': lambda drawn: loading_mal.recipe(drawn.root),
    'sam2': lambda drawn: loading_sam2.recipe(drawn.clips, CLIP_LENGTH)}


def draw(root: Path, name: str, *, images: int, size: int) -> DrawnShapes:
    """Pictures for a recipe; clips for SAM 2, a sixth as many."""
    if name == 'sam2':
        return draw_shapes(root / name, num_train=1, num_val=1, size=CLIP_SIZE, clips=max(images // 6, 1),
                           clip_length=CLIP_LENGTH)
    return draw_shapes(root / name, num_train=images, num_val=1, size=size)


def main() -> int:
    """Check, measure and print."""
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument('--images', type=int, default=24, help='drawn images (24)')
    arguments.add_argument('--size', type=int, default=480, help='their side in pixels (480)')
    arguments.add_argument('--recipe', nargs='+', choices=RECIPES, default=tuple(RECIPES), help='recipes (all)')
    args = arguments.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.recipe:
            recipe = RECIPES[name](draw(Path(folder), name, images=args.images, size=args.size))
            seconds = time_in_turns({'ours': recipe.ours, recipe.peer_name: recipe.peer}, **timing(args))
            rows.append(compare_seconds(recipe.name, seconds, ours='ours', peer=recipe.peer_name, note=recipe.note,
                                        images=recipe.images))
    title = (f'Data loading in one process, {args.images} images of {args.size}x{args.size} (SAM 2: frames of '
             f'{CLIP_SIZE}x{CLIP_SIZE}; MAL: images/s is boxes/s)')
    return finish(RatioTable(title, machine_line(), rows), args)


if __name__ == '__main__':
    sys.exit(main())
