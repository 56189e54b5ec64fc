"""``python tools/dataset_converters/kitti.py`` is ``maskforge convert kitti``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.convert import main

if __name__ == '__main__':
    sys.exit(main(['kitti', *sys.argv[1:]]))
