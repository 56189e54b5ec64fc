"""``maskforge retention``: how much of a segmenter's accuracy is left when it learns from pseudo-masks."""
import argparse
import sys
import time
from pathlib import Path

from .errors import run_verb
from .steps import ROOT, best_checkpoint, newest_metrics, run_step

LABELLER = 'configs/mal/mal_tiny_shapes.py'
SEGMENTER = 'configs/quickstart/mask-rcnn_r18_fpn_shapes.py'
DATA = 'data/shapes'
SHOWN = ('coco/segm_mAP', 'coco/segm_mAP_50', 'coco/segm_mAP_75', 'coco/bbox_mAP')


def parser() -> argparse.ArgumentParser:
    """The flags of the comparison."""
    parser = argparse.ArgumentParser(prog='maskforge retention', description=(
        'Draw shapes, train a small MAL on their boxes, label the training pictures, train the same Mask R-CNN once on '
        'the true and once on the pseudo-masks, and compare both on the true held-out masks. Runs in a clone of the '
        'repository.'))
    parser.add_argument('--work-dir', default='work_dirs/retention', help='folder for results (%(default)s)')
    parser.add_argument('--images', type=int, default=1500, help='training images to draw (%(default)s)')
    parser.add_argument('--val-images', type=int, default=150, help='held-out images to draw (%(default)s)')
    parser.add_argument('--mal-checkpoint', metavar='FILE', help='label with these weights, do not train a MAL')
    parser.add_argument('--mal-epochs', type=int, help="length of MAL's training (default: its config's)")
    parser.add_argument('--epochs', type=int, help="length of both Mask R-CNN trainings (default: the config's)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run all steps; return the exit code."""
    return run_verb(parser(), _retention, argv)


def _retention(args: argparse.Namespace) -> int:
    if not (ROOT / LABELLER).exists():
        raise FileNotFoundError(f'retention runs in a clone of the repository; {ROOT / LABELLER} is not there')
    started, work_dir = time.time(), Path(args.work_dir)
    _draw(args.images, args.val_images)
    checkpoint = args.mal_checkpoint or _train(LABELLER, 'MAL on boxes', work_dir / 'mal', args.mal_epochs)
    run_step('Test MAL on held-out boxes', 'tools/test.py', LABELLER, checkpoint, '--work-dir', work_dir / 'mal_test')
    labels = ROOT / work_dir / 'instances_train_mal.json'
    run_step('Label the training boxes', 'tools/infer.py', LABELLER, '--weights', checkpoint, '--ann-file',
             f'{DATA}/annotations/instances_train.json', '--img-dir', f'{DATA}/train', '--out', labels)
    scores = {}
    for name, options in (('truth', []), ('pseudo-masks', [f'train_dataloader.dataset.ann_file={labels}'])):
        trained = _train(SEGMENTER, f'Mask R-CNN on {name}', work_dir / name, args.epochs, *options)
        run_step(f'Test the Mask R-CNN of {name}', 'tools/test.py', SEGMENTER, trained,
                 '--work-dir', work_dir / f'{name}_test')
        scores[name] = newest_metrics(work_dir / f'{name}_test')
    print(report(newest_metrics(work_dir / 'mal_test'), scores['truth'], scores['pseudo-masks']))
    print(f'{(time.time() - started) / 60:.1f} minutes; review pages: {labels.with_name("instances_train_mal_review")}')
    return 0


def _draw(images: int, val_images: int) -> None:
    from maskforge.datasets.synthetic import draw_shapes
    print(f'\n== Draw {images} training and {val_images} held-out images into {DATA}', flush=True)
    draw_shapes(ROOT / DATA, num_train=images, num_val=val_images)


def _train(config: str, name: str, work_dir: Path, epochs: int | None, *options: str) -> Path:
    if epochs:
        options = (*options, f'train_cfg.max_epochs={epochs}')
    run_step(f'Train {name}', 'tools/train.py', config, '--work-dir', work_dir,
             *(['--cfg-options', *options] if options else []))
    return best_checkpoint(work_dir)


def report(labeller: dict[str, float], truth: dict[str, float], pseudo: dict[str, float]) -> str:
    """The table: MAL's IoU beside the boxes', and both Mask R-CNNs with the ratio of their figures."""
    from terminaltables import AsciiTable
    rows = [(key.removeprefix('coco/'), f'{truth[key]:.3f}', f'{pseudo[key]:.3f}',
             f'{pseudo[key] / truth[key]:.1%}' if truth[key] > 0 else 'none') for key in SHOWN if key in truth]
    boxes = f'{labeller["mal/mIoU"]:.3f}, the boxes as masks {labeller["mal/box_mIoU"]:.3f}'
    table = AsciiTable([('Mask R-CNN on held-out truth', 'trained on truth', 'on pseudo-masks', 'retained'), *rows])
    return f'\nmIoU of MAL on held-out objects: {boxes}\n{table.table}'


if __name__ == '__main__':
    sys.exit(main())
