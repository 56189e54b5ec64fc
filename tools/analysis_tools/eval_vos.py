"""``python tools/analysis_tools/eval_vos.py`` is ``maskforge eval-vos``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.eval_vos import main

if __name__ == '__main__':
    sys.exit(main())
