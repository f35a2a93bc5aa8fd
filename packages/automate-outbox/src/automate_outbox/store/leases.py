"""The fencing tokens that one store object holds."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Iterable, Mapping

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
        # In the order of their times, as an entry is never changed in place.
        self._held: dict[tuple[int, str], tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def remember(self, item_ids: Iterable[int], worker_id: str, token: str) -> None:
        """Keep the token of a claim; a later claim of the same item replaces it.

        Args:
            item_ids: The claimed items.
            worker_id: Who claimed them.
            token: Their token.
        """
        self._keep_all([((item_id, worker_id), token) for item_id in item_ids])

    def tokens(self, item_ids: Iterable[int], worker_id: str) -> dict[int, str]:
        """Return the tokens that are held, by item.

        Args:
            item_ids: The items; those of which no token is held are left out.
            worker_id: Who claimed them.
        """
        with self._lock:
            held = {item_id: self._held.get((item_id, worker_id)) for item_id in item_ids}
        return {item_id: entry[0] for item_id, entry in held.items() if entry}

    def touch(self, claims: Mapping[int, str], worker_id: str) -> None:
        """Note that leases were renewed.

        Args:
            claims: Their tokens by item; nothing happens where another one is held.
            worker_id: Who claimed them.
        """
        held = self.tokens(claims, worker_id)
        same = claims.items() & held.items()
        self._keep_all([((item_id, worker_id), token) for item_id, token in same])

    def forget(self, claims: Mapping[int, str], worker_id: str) -> None:
        """Drop tokens; that of a later claim stays.

        Args:
            claims: The tokens that have ended, by item.
            worker_id: Who claimed them.
        """
        with self._lock:
            for item_id, token in claims.items():
                entry = self._held.get((item_id, worker_id))
                if entry and entry[0] == token:
                    del self._held[item_id, worker_id]

    def _keep_all(self, entries: list[tuple[tuple[int, str], str]]) -> None:
        now = time.monotonic()
        with self._lock:
            for key, token in entries:
                self._held.pop(key, None)
                self._held[key] = (token, now)
            self._drop(before=now - self._keep)

    def _drop(self, before: float) -> None:
        outdated = itertools.takewhile(lambda key: self._held[key][1] < before, self._held)
        for key in list(outdated):
            del self._held[key]
