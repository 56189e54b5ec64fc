"""``python tools/analysis_tools/analyze_logs.py`` is ``maskforge analyze-logs``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.analyze_logs import main

if __name__ == '__main__':
    sys.exit(main())
