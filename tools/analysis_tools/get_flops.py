"""``python tools/analysis_tools/get_flops.py`` is ``maskforge flops``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.flops import main

if __name__ == '__main__':
    sys.exit(main())
