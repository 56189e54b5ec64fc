"""``python tools/dataset_converters/pascal_voc.py`` is ``maskforge convert voc``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.convert import main

if __name__ == '__main__':
    sys.exit(main(['voc', *sys.argv[1:]]))
