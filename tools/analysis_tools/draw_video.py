"""``python tools/analysis_tools/draw_video.py`` is ``maskforge draw-video``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.draw_video import main

if __name__ == '__main__':
    sys.exit(main())
