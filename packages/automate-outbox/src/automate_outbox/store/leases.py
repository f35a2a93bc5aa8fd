"""The fencing tokens that one store object holds."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable

__all__ = ["HeldLeases", "new_token"]


def new_token() -> str:
    """Return a fencing token: 128 random bits, as 32 hexadecimal digits."""
    return secrets.token_hex(16)


class HeldLeases:
    """Which token this process holds for which item and worker; safe to share between threads.

    An entry goes when its claim ends. Callers that drop an item without a word would let the memory grow, so an
    entry that was neither claimed nor renewed for a long time goes too: its holder is then refused, which is safe.

    Args:
        keep_seconds: How long an entry stays without being claimed or renewed.
    """

    def __init__(self, keep_seconds: float) -> None:
        self._keep = keep_seconds
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[int, str], tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def remember(self, item_ids: Iterable[int], worker_id: str, token: str) -> None:
        """Keep the token of a claim; a later claim of the same item replaces it.

        Args:
            item_ids: The claimed items.
            worker_id: Who claimed them.
            token: Their token.
        """
        now = time.monotonic()
        with self._lock:
            for item_id in item_ids:
                self._held[item_id, worker_id] = (token, now)
                self._held.move_to_end((item_id, worker_id))
            while self._held and next(iter(self._held.values()))[1] < now - self._keep:
                self._held.popitem(last=False)

    def token(self, item_id: int, worker_id: str) -> str | None:
        """Return the token that is held for an item, if any.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
        """
        with self._lock:
            held = self._held.get((item_id, worker_id))
        return held[0] if held else None

    def touch(self, item_id: int, worker_id: str, token: str) -> None:
        """Note that a lease was renewed.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            token: Its token; nothing happens where another one is held.
        """
        if self.token(item_id, worker_id) == token:
            self.remember([item_id], worker_id, token)

    def forget(self, item_id: int, worker_id: str, token: str) -> None:
        """Drop a token; that of a later claim stays.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            token: The token that has ended.
        """
        with self._lock:
            held = self._held.get((item_id, worker_id))
            if held and held[0] == token:
                del self._held[item_id, worker_id]
