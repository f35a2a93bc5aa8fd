"""The no-op handler that every system runs: it counts itself in shared memory, so measuring adds no statement."""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from pathlib import Path

SLOTS, SAMPLES = 1024, 4096
_SLOT, _SAMPLE = struct.Struct("qdd"), struct.Struct("d")
_SIZE = SLOTS * _SLOT.size + SAMPLES * _SAMPLE.size
_lock = threading.Lock()
_map: mmap.mmap | None = None


def hit(sample: int = -1) -> None:
    """Count one call, in the map that BENCH_PROBE names.

    Args:
        sample: The number of a job whose moment is wanted; negative for none.
    """
    global _map
    now = time.perf_counter()
    with _lock:
        if _map is None:
            with Path(os.environ["BENCH_PROBE"]).open("r+b") as file:
                _map = mmap.mmap(file.fileno(), _SIZE)
        place = os.getpid() % SLOTS * _SLOT.size
        count, first, _ = _SLOT.unpack_from(_map, place)
        _SLOT.pack_into(_map, place, count + 1, first or now, now)
        if sample >= 0:
            _SAMPLE.pack_into(_map, SLOTS * _SLOT.size + sample * _SAMPLE.size, now)


class Probe:
    """The map, as the measuring process reads it.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("wb") as file:
            file.truncate(_SIZE)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)

    def read(self) -> tuple[int, float, float]:
        """Return the number of calls, and the moments of the first and the last one."""
        slots = [_SLOT.unpack_from(self._map, place * _SLOT.size) for place in range(SLOTS)]
        used = [slot for slot in slots if slot[0]]
        if not used:
            return 0, 0.0, 0.0
        return sum(slot[0] for slot in used), min(slot[1] for slot in used), max(slot[2] for slot in used)

    def moment(self, sample: int) -> float:
        """Return when a job was handled; 0.0 where it was not yet.

        Args:
            sample: Its number.
        """
        moment: float = _SAMPLE.unpack_from(self._map, SLOTS * _SLOT.size + sample * _SAMPLE.size)[0]
        return moment

    def close(self) -> None:
        """Remove the map."""
        self._map.close()
        self.path.unlink()
