"""``python tools/dataset_converters/sav_frames.py`` is ``maskforge convert sav_frames``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.convert import main

if __name__ == '__main__':
    sys.exit(main(['sav_frames', *sys.argv[1:]]))
