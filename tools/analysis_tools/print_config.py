"""``python tools/analysis_tools/print_config.py`` is ``maskforge config --print``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.config import main

if __name__ == '__main__':
    sys.exit(main(['--print', *sys.argv[1:]]))
