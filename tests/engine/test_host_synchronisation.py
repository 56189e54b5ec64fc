"""How often a training step waits for the device, counted on a device that the CPU plays (``emulated_device``)."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

SUPPORT = Path(__file__).parents[1] / 'support'
#: reads and blocking writes of one step on two images or one clip. One read is the copy of the matching's costs; SAM 2
#: asks which parameters no process has used. What the stages of Mask R-CNN work on depends on what was found: its
#: matching, sampling and suppression need sizes, and torchvision's suppression writes a number.
EXPECTED = dict(deformable_detr=(['losses/matching.py'], []), mask2former=(['losses/matching.py'], []), mal=([], []),
                sam2=(['engine/optim/unused_parameters.py'], []),
                mask_rcnn=(['layers/roi_extractor.py'] * 2 + ['models/mask_rcnn/roi_head.py']
                           + ['models/mask_rcnn/rpn.py'] * 4 + ['models/mask_rcnn/sampling.py'] * 8
                           + ['ops/nms.py'] * 2, ['ops/nms.py'] * 2))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(backend_registration, '_setup_privateuseone_for_python_backend'),
                    reason='this PyTorch has no devices written in Python')
def test_steps_wait_for_the_device_as_seldom_as_they_must(tmp_path):
    done = subprocess.run([sys.executable, SUPPORT / 'emulated_device.py', tmp_path, *EXPECTED], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    found = {}
    for line in done.stdout.splitlines():
        found |= json.loads(line)
    assert {family: tuple(sorted(place.split(':')[0] for kind, place in waits if kind == wanted)
                          for wanted in ('read', 'write')) for family, waits in found.items()} == {
        family: (sorted(reads), sorted(writes)) for family, (reads, writes) in EXPECTED.items()}
