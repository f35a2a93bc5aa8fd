"""Identifiers that sort by time."""

from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

__all__ = ["new_trace_id", "uuid7", "uuid7_floor"]

_lock = threading.Lock()
_last = 0


def uuid7() -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562, section 5.7) that is greater than the one before in this process.

    The 48-bit millisecond clock is followed by 12 bits of sub-millisecond time (method 3 of section 6.2) and 62 random
    bits.
    """
    return uuid.UUID(int=_new_value())


def _new_value() -> int:
    global _last
    with _lock:
        tick = time.time_ns() * 4096 // 1_000_000
        _last = tick = max(tick, _last + 1)
    milliseconds, fraction = divmod(tick, 4096)
    noise = int.from_bytes(os.urandom(8)) >> 2
    return (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | noise


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def uuid7_floor(moment: datetime) -> uuid.UUID:
    """Return the bound between the UUIDs of version 7 made before a moment and those made from then on.

    Args:
        moment: An aware datetime, not before 1970; taken to the millisecond.

    Returns:
        A UUID that is greater than every earlier one, and smaller than every one of that millisecond or later.
    """
    return uuid.UUID(int=(moment - _EPOCH) // timedelta(milliseconds=1) << 80)


def new_trace_id() -> str:
    """Return the id of a new trace (W3C Trace Context, section 3.2.2.3): 32 hexadecimal digits.

    It begins with the time, so that an index over such ids grows at its end; 62 of its bits are random.
    """
    return f"{_new_value():032x}"
