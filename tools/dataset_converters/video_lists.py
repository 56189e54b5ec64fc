"""``python tools/dataset_converters/video_lists.py`` is ``maskforge video-lists``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.cli.video_lists import main

if __name__ == '__main__':
    sys.exit(main())
