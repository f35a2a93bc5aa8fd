"""Data keys that a service has unwrapped, kept for a while."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NoReturn

from automate_core.single_flight import SingleFlight

from automate_secrets.keys._encryption import Binding, KeyEncryption

__all__ = ["Unwrapped"]


class Unwrapped:
    """A key that is held elsewhere, which is asked once for each data key, and not again for five minutes.

    Each call takes a round trip and counts against a quota, and many workers read the same secrets at the same time.
    What is kept opens one row each, and no other. It is bounded in time, so that a key that was disabled or taken away
    soon stops working here too, and in number, so that this process never holds what opens the whole table. Failures
    are not kept.

    Args:
        inner: The key.
        seconds: How long a data key is kept.
        entries: How many are kept, those used last.
        clock: Tells monotonic time in seconds.
    """

    def __init__(
        self,
        inner: KeyEncryption,
        *,
        seconds: float = 300.0,
        entries: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key_id = inner.key_id
        self.kind = inner.kind
        self._inner = inner
        self._seconds, self._entries, self._clock = seconds, entries, clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._flights = SingleFlight()

    def wrap(self, data_key: bytes, binding: Binding) -> bytes:
        """Encrypt a data key for one place.

        Args:
            data_key: The data key.
            binding: The place.

        Returns:
            The wrapped data key.

        Raises:
            SecretError: As the key's own method does.
        """
        return self._inner.wrap(data_key, binding)

    def unwrap(self, wrapped: bytes, binding: Binding) -> bytes:
        """Decrypt a data key in its place, or give what that gave a moment ago.

        Args:
            wrapped: What :meth:`wrap` returned.
            binding: The place.

        Returns:
            The data key.

        Raises:
            SecretError: As the key's own method does.
        """
        # The place is a part of it: in another one the service would refuse.
        key = hashlib.sha256(binding.associated_data("key", self.key_id) + wrapped).digest()
        found = self._find(key)
        return self._flights.run(key, lambda: self._ask(key, wrapped, binding)) if found is None else found

    def _find(self, key: bytes) -> bytes | None:
        with self._lock:
            until, data_key = self._kept.get(key, (0.0, b""))
            if until <= self._clock():
                self._kept.pop(key, None)
                return None
            self._kept.move_to_end(key)
            return data_key

    def _ask(self, key: bytes, wrapped: bytes, binding: Binding) -> bytes:
        until = self._clock() + self._seconds
        data_key = self._inner.unwrap(wrapped, binding)
        with self._lock:
            self._kept[key] = (until, data_key)
            while len(self._kept) > self._entries:
                self._kept.popitem(last=False)
        return data_key

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner!r})"

    def __redacted__(self) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("data keys are not pickled")
