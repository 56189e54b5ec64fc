"""``python tools/analysis_tools/browse_dataset.py`` is ``maskforge browse``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.browse import main

if __name__ == '__main__':
    sys.exit(main())
