"""``maskforge eval-vos --gt-root TRUTH --pred-root PREDICTIONS``."""
import argparse
import os
import sys
from pathlib import Path

from .errors import run_verb


def parser() -> argparse.ArgumentParser:
    """The flags of SA-V's evaluator, with hyphens or underscores."""
    parser = argparse.ArgumentParser(
        prog='maskforge eval-vos', description='J&F of predicted masks of videos: VIDEO/FRAME.png with object ids '
        '(DAVIS, MOSE) or VIDEO/OBJECT/FRAME.png with one object each (SA-V). The layout is found per video.')
    parser.add_argument('--gt-root', '--gt_root', required=True, metavar='DIR', help='true masks, one folder a video')
    parser.add_argument('--pred-root', '--pred_root', required=True, metavar='DIR', help='predictions, the same way')
    parser.add_argument('-n', '--num-workers', '--num-processes', '--num_processes', type=int, metavar='N',
                        default=min(16, os.cpu_count() or 1), help='videos that are scored beside each other '
                        '(default: %(default)s)')
    parser.add_argument('-s', '--strict', action='store_true', help='an error where the two folders have different '
                        'videos; otherwise those in both are scored')
    parser.add_argument('--do-not-skip-first-and-last-frame', '--do_not_skip_first_and_last_frame',
                        action='store_true', help='count all annotated frames of a video')
    parser.add_argument('--results-file', metavar='CSV', help='default: results.csv in the folder of the predictions')
    parser.add_argument('-q', '--quiet', action='store_true', help='print the three numbers only')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Score, print and write; return the exit code."""
    return run_verb(parser(), _evaluate, argv)


def _evaluate(args: argparse.Namespace) -> int:
    from maskforge.evaluation.vos_folders import common_videos, evaluate_folders, truth_root
    from maskforge.inference.job_progress import JobProgress
    root, predictions = truth_root(Path(args.gt_root)), Path(args.pred_root)
    number = len(common_videos(root, predictions, strict=args.strict))
    skip = not args.do_not_skip_first_and_last_frame
    with JobProgress(number, title='Scoring', unit='videos') as progress:
        report = evaluate_folders(root, predictions, num_workers=args.num_workers, strict=args.strict,
                                  skip_first_and_last=skip, progress=None if args.quiet else progress.advance)
    means = report.means()
    path = report.write_csv(args.results_file or predictions / 'results.csv')
    for line in report.left_out:
        print(f'left out: {line}', file=sys.stderr)
    if not args.quiet:
        print(report.table(by='object'))
        print(f'{number} videos; the first and the last annotated frame of each '
              f'{"do not count" if skip else "count"}; written to {path}')
    print(f'J&F: {100 * means["JF"]:.1f} J: {100 * means["J"]:.1f} F: {100 * means["F"]:.1f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
