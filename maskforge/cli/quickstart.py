"""``maskforge quickstart``: the whole main job on a drawn data set, each step a command that a user would type."""
import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from .errors import run_verb

ROOT = Path(__file__).resolve().parents[2]
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
    _step('Look at the training data', 'tools/analysis_tools/browse_dataset.py', CONFIG,
          '--output-dir', work_dir / 'browse', '--number', 24)
    epochs = [f'train_cfg.max_epochs={args.epochs}'] if args.epochs else []
    _step('Train and validate', 'tools/train.py', CONFIG, '--work-dir', work_dir,
          *(['--cfg-options', *epochs] if epochs else []))
    checkpoint = _checkpoint(work_dir)
    _step('Test on the held-out images', 'tools/test.py', CONFIG, checkpoint, '--work-dir', work_dir / 'test')
    onnx_file = work_dir / 'model.onnx'
    _step('Export to ONNX and compare with PyTorch', 'tools/export.py', CONFIG, checkpoint,
          '--work-dir', work_dir / 'export', '--onnx-file', onnx_file)
    _step('Run the ONNX file', 'tools/infer.py', onnx_file, f'{DATA}/val', '--out-dir', work_dir / 'predictions',
          '--batch-size', 4, '--min-side', 320, '--score-thr', 0.5)
    _step('Plot the curves', 'tools/analysis_tools/analyze_logs.py', 'plot_curve', work_dir,
          '--out', work_dir / 'curves.png')
    _report(work_dir, onnx_file, started)
    return 0


def _draw(images: int, val_images: int) -> None:
    from maskforge.datasets.synthetic import draw_shapes
    print(f'\n== Draw {images} training and {val_images} held-out images into {DATA}', flush=True)
    draw_shapes(ROOT / DATA, num_train=images, num_val=val_images, max_objects=MAX_OBJECTS)


def _step(title: str, script: str, *arguments: object) -> None:
    """Run one command in the repository, shown as the user would type it.

    Raises:
        ValueError: the command failed.
    """
    words = ['python', script, *map(str, arguments)]
    print(f'\n== {title}\n$ {shlex.join(words)}', flush=True)
    done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT)
    if done.returncode:
        raise ValueError(f'the step "{title}" ended with exit code {done.returncode}; its output is above')


def _checkpoint(work_dir: Path) -> Path:
    """The best checkpoint of the run, else the last."""
    from maskforge.checkpoints import find_latest
    best = sorted((ROOT / work_dir).glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    found = best[-1] if best else find_latest(ROOT / work_dir)
    return Path(os.path.relpath(found, ROOT))


def _report(work_dir: Path, onnx_file: Path, started: float) -> None:
    """Write the result page; print the metrics, the ONNX difference and where the files lie."""
    from terminaltables import AsciiTable
    results = _newest_json(ROOT / work_dir / 'test')
    check = json.loads((ROOT / onnx_file).with_suffix('.check.json').read_text())
    rows = [(name.removeprefix('coco/'), f'{results[name]:.3f}') for name in SHOWN]
    rows += [('largest difference ONNX - PyTorch', f'{check["largest_difference"]:.2e}'),
             ('minutes, without installation', f'{(time.time() - started) / 60:.1f}')]
    page = _write_page(ROOT / work_dir, rows)
    print()
    print(AsciiTable([('held-out shapes', 'value'), *rows]).table)
    for label, path in (('result page', page), ('predictions drawn by the ONNX file', work_dir / 'predictions' / 'vis'),
                        ('curves', work_dir / 'curves.png'), ('annotations drawn', work_dir / 'browse' / 'index.html'),
                        ('ONNX file', onnx_file), ('checkpoint', _checkpoint(work_dir))):
        if not (ROOT / path).exists():
            raise FileNotFoundError(f'{label}: {ROOT / path} was not written')
        print(f'{label + ":":36}{os.path.relpath(ROOT / path, ROOT)}')


def _newest_json(folder: Path) -> dict:
    """The metrics that the newest test run wrote."""
    logs = [path for path in folder.rglob('*.json') if path.parent.name != 'vis_data']
    return json.loads(max(logs, key=lambda path: path.stat().st_mtime).read_text().splitlines()[-1])


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
