"""``maskforge quickstart``: the whole main job on a drawn data set, each step a command that a user would type."""
import argparse
import json
import os
import sys
import time
from pathlib import Path

from .errors import run_verb
from .steps import ROOT, best_checkpoint, newest_metrics, run_step

CONFIG = 'configs/quickstart/mask-rcnn_r18_fpn_shapes.py'
DATA = 'data/shapes'
MAX_OBJECTS = 4
SHOWN = ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP', 'coco/segm_mAP_50')


def parser() -> argparse.ArgumentParser:
    """The flags of the quick start."""
    parser = argparse.ArgumentParser(prog='maskforge quickstart', description=(
        'Draw shapes, train a small Mask R-CNN on them, validate, test, export to ONNX, run the ONNX file and write '
        'a result page. Runs in a clone of the repository.'))
    parser.add_argument('--work-dir', default='work_dirs/quickstart', help='folder for results (%(default)s)')
    parser.add_argument('--images', type=int, default=700, help='training images to draw (%(default)s)')
    parser.add_argument('--val-images', type=int, default=100, help='held-out images to draw (%(default)s)')
    parser.add_argument('--epochs', type=int, help="training length (default: the config's)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run all steps; return the exit code."""
    return run_verb(parser(), _quickstart, argv)


def _quickstart(args: argparse.Namespace) -> int:
    if not (ROOT / CONFIG).exists():
        raise FileNotFoundError(f'quickstart runs in a clone of the repository; {ROOT / CONFIG} is not there')
    started, work_dir = time.time(), Path(args.work_dir)
    _draw(args.images, args.val_images)
    run_step('Look at the training data', 'tools/analysis_tools/browse_dataset.py', CONFIG,
             '--output-dir', work_dir / 'browse', '--number', 24)
    epochs = [f'train_cfg.max_epochs={args.epochs}'] if args.epochs else []
    run_step('Train and validate', 'tools/train.py', CONFIG, '--work-dir', work_dir,
             *(['--cfg-options', *epochs] if epochs else []))
    checkpoint = best_checkpoint(work_dir)
    run_step('Test on the held-out images', 'tools/test.py', CONFIG, checkpoint, '--work-dir', work_dir / 'test')
    onnx_file = work_dir / 'model.onnx'
    run_step('Export to ONNX and compare with PyTorch', 'tools/export.py', CONFIG, checkpoint,
             '--work-dir', work_dir / 'export', '--onnx-file', onnx_file)
    run_step('Run the ONNX file', 'tools/infer.py', onnx_file, f'{DATA}/val', '--out-dir', work_dir / 'predictions',
             '--batch-size', 4, '--min-side', 320, '--score-thr', 0.5)
    run_step('Plot the curves', 'tools/analysis_tools/analyze_logs.py', 'plot_curve', work_dir,
             '--out', work_dir / 'curves.png')
    _report(work_dir, onnx_file, started)
    return 0


def _draw(images: int, val_images: int) -> None:
    from maskforge.datasets.synthetic import draw_shapes
    print(f'\n== Draw {images} training and {val_images} held-out images into {DATA}', flush=True)
    draw_shapes(ROOT / DATA, num_train=images, num_val=val_images, max_objects=MAX_OBJECTS)


def _report(work_dir: Path, onnx_file: Path, started: float) -> None:
    """Write the result page; print the metrics, the ONNX difference and where the files lie."""
    from terminaltables import AsciiTable
    results = newest_metrics(work_dir / 'test')
    check = json.loads((ROOT / onnx_file).with_suffix('.check.json').read_text())
    rows = [(name.removeprefix('coco/'), f'{results[name]:.3f}') for name in SHOWN]
    rows += [('largest difference ONNX - PyTorch', f'{check["largest_difference"]:.2e}'),
             ('minutes, without installation', f'{(time.time() - started) / 60:.1f}')]
    page = _write_page(ROOT / work_dir, rows)
    print()
    print(AsciiTable([('held-out shapes', 'value'), *rows]).table)
    for label, path in (('result page', page), ('predictions drawn by the ONNX file', work_dir / 'predictions' / 'vis'),
                        ('curves', work_dir / 'curves.png'), ('annotations drawn', work_dir / 'browse' / 'index.html'),
                        ('ONNX file', onnx_file), ('checkpoint', best_checkpoint(work_dir))):
        if not (ROOT / path).exists():
            raise FileNotFoundError(f'{label}: {ROOT / path} was not written')
        print(f'{label + ":":36}{os.path.relpath(ROOT / path, ROOT)}')


def _write_page(work_dir: Path, rows: list[tuple[str, str]]) -> Path:
    from maskforge.visualization.result_page import ResultPage
    page = ResultPage('maskforge quick start')
    page.add_table(rows, header=('held-out shapes', 'value'))
    page.add_heading('Curves')
    page.add_picture(work_dir / 'curves.png', 'losses and metrics of the training')
    page.add_heading('Predictions of the ONNX file on held-out images')
    for path in sorted((work_dir / 'predictions' / 'vis').rglob('*.*'))[:24]:
        page.add_picture(path, path.name)
    return page.write(work_dir / 'index.html')


if __name__ == '__main__':
    sys.exit(main())
