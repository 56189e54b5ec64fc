"""Run all benchmarks one after the other: python tools/benchmarks/run_all.py [--markdown-dir docs/benchmarks]"""
import argparse
import subprocess
import sys
from pathlib import Path

NAMES = ('import_time', 'data_loading', 'evaluation_time', 'mask_rcnn_step', 'deformable_detr',
         'deformable_attention', 'mean_field')


def main() -> int:
    """Run; the exit code is the number of benchmarks that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json-dir', type=Path, help='write <name>.json there')
    parser.add_argument('--markdown-dir', type=Path, help='write <name>.md there')
    args = parser.parse_args()
    failed = []
    for name in NAMES:
        command = [sys.executable, str(Path(__file__).with_name(f'{name}.py'))]
        for flag, folder, suffix in (('--json', args.json_dir, 'json'), ('--markdown', args.markdown_dir, 'md')):
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                command += [flag, str(folder / f'{name}.{suffix}')]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        print(f'failed: {", ".join(failed)}')
    return len(failed)


if __name__ == '__main__':
    sys.exit(main())
