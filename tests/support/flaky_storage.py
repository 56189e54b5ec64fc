"""A network file system on a bad day: it raises, answers late, and cuts files short; as a back end of MMEngine."""
import errno
import time
from collections import Counter

from mmengine.fileio import LocalBackend, register_backend


class FlakyStorage(LocalBackend):
    """Local files with faults.

    Args:
        faults: for a part of a path, what its reads do in turn: 'raise', 'stale', 'delay', 'cut' or 'hang'; after
            the last one they work. One word stands for every read.
        pause: seconds of a delay.
    """

    reads: Counter = Counter()

    def __init__(self, faults=None, pause=0.05, **kwargs):
        super().__init__(**kwargs)
        self.faults, self.pause = faults or {}, pause

    def get(self, filepath):
        content = super().get(filepath)
        name = next((part for part in self.faults if part in str(filepath)), None)
        if name is None:
            return content
        turn = FlakyStorage.reads[str(filepath)]
        FlakyStorage.reads[str(filepath)] += 1
        plan = self.faults[name]
        fault = plan if isinstance(plan, str) else plan[turn] if turn < len(plan) else None
        if fault == 'raise':
            raise OSError(errno.EIO, 'Input/output error', str(filepath))
        if fault == 'stale':
            raise OSError(errno.ESTALE, 'Stale file handle', str(filepath))
        if fault in ('delay', 'hang'):
            time.sleep(self.pause if fault == 'delay' else 3600)
        return content[:len(content) // 2] if fault == 'cut' else content


register_backend('flaky', FlakyStorage, force=True)
