"""Which reads of the installation itself go on record: each that asks a backend, and one for a while of the others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automate_core.settings import SecretSettings

__all__ = ["OwnRead", "OwnReads"]


class OwnRead:
    """One read.

    Args:
        ref: What is read: a reference, or of a credential its source.
        tenant: Whose secret; None is the installation's own.
        at: When, in seconds of the resolver's clock.
    """

    __slots__ = ("asked_at", "at", "ref", "tenant")

    def __init__(self, ref: Any, tenant: str | None, at: float) -> None:
        self.ref = ref
        self.tenant = tenant
        self.at = at
        self.asked_at: float | None = None
        """When a backend was asked whose answers are kept; None where it was not."""


class OwnReads:
    """When each secret was read by the installation, as far as that is on record.

    Args:
        config: The settings of secrets.
    """

    def __init__(self, config: SecretSettings) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._recorded: dict[tuple[str, str | None], float] = {}

    def is_due(self, read: OwnRead) -> bool:
        """Whether a read is to be recorded.

        Args:
            read: The read.
        """
        with self._lock:
            return self._is_due(read)

    def take(self, read: OwnRead) -> bool:
        """Take a read for recorded, if it is to be; of several at one time, one is.

        Args:
            read: The read.

        Returns:
            Whether it is to be recorded.
        """
        with self._lock:
            due = self._is_due(read)
            if due:
                if len(self._recorded) >= self._config.cache_entries:
                    self._recorded.clear()
                self._recorded[str(read.ref), read.tenant] = read.at
            return due

    def _is_due(self, read: OwnRead) -> bool:
        last = self._recorded.get((str(read.ref), read.tenant))
        if last is None or read.at - last >= self._config.cache_seconds:
            return True
        return read.asked_at is not None and read.asked_at > last

    def remove(self, read: OwnRead) -> None:
        """Take a read for not recorded after all.

        Args:
            read: The read.
        """
        with self._lock:
            self._recorded.pop((str(read.ref), read.tenant), None)

    def clear(self) -> None:
        """Let the next read of every secret be recorded."""
        with self._lock:
            self._recorded.clear()
