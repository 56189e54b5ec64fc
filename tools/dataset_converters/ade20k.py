"""``python tools/dataset_converters/ade20k.py`` is ``maskforge convert ade20k``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.convert import main

if __name__ == '__main__':
    sys.exit(main(['ade20k', *sys.argv[1:]]))
