"""``python tools/infer.py`` is ``maskforge infer``; it also works from a clone that is not installed."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskforge.cli.infer import main

if __name__ == '__main__':
    sys.exit(main())
