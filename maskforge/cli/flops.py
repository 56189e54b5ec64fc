"""``maskforge flops CFG``."""
import sys
from typing import Any

from .function_verb import run_function
from .lazy_function import LazyFunction


def main(argv: list[str] | None = None) -> int:
    """Count; return the exit code."""
    run = LazyFunction('maskforge.analysis.flops', 'run')
    return run_function('maskforge flops', run, argv, show=lambda result: print(table(result)))


def table(result: dict[str, Any]) -> str:
    """The counts as lines of text, the model's modules below its totals."""
    height, width = result['shape']
    rows = [f'{"module":<40} {"GFLOPs":>10} {"parameters":>14}']
    rows += [f'{name:<40} {gflops:>10.3f} {parameters:>14,}' for name, gflops, parameters in result['by_module']]
    return '\n'.join([*rows, '', f'one image of {height} x {width} pixels: {result["gflops"]:.2f} GFLOPs '
                      f'({result["gmacs"]:.2f} GMACs), {result["parameters"]:,} parameters, '
                      f'{result["trainable"]:,} of them trainable'])


if __name__ == '__main__':
    sys.exit(main())
