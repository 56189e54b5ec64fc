"""``python tools/analysis_tools/confusion_matrix.py`` is ``maskforge confusion-matrix``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.confusion_matrix import main

if __name__ == '__main__':
    sys.exit(main())
