"""``python tools/analysis_tools/eval_interactive_vos.py`` is ``maskforge eval-clicks``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.eval_clicks import main

if __name__ == '__main__':
    sys.exit(main())
