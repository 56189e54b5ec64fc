"""``python tools/analysis_tools/benchmark.py`` is ``maskforge benchmark``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.benchmark import main

if __name__ == '__main__':
    sys.exit(main())
