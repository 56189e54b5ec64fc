"""``python tools/dataset_converters/check_coco.py`` is ``maskforge check-data``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.check_data import main

if __name__ == '__main__':
    sys.exit(main())
