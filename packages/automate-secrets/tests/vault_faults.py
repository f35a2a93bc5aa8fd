"""What can go wrong with the Vault that tests talk to. See :mod:`vault_server`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NamedTuple


class Standby(NamedTuple):
    """What kind of standby node the server is, and where it redirects to instead of forwarding."""

    performance: bool
    active: str | None


@dataclass
class Fault:
    """What goes wrong with requests below a path, ``times`` times, or until :meth:`VaultServer.heal` with None."""

    path: str = ""
    times: int | None = 1
    status: int = 0
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    drop: bool = False
    afterwards: bool = False


class Troubles:
    """The knobs: states of the node, and faults of single requests."""

    def __init__(self) -> None:
        self.is_sealed = False
        self.is_standby: Standby | None = None
        self._faults: list[Fault] = []

    def seal(self) -> None:
        """Answer 503 to everything but health and seal status, until :meth:`unseal`."""
        self.is_sealed = True

    def unseal(self) -> None:
        """Undo :meth:`seal`."""
        self.is_sealed = False

    def standby(self, *, performance: bool = False, active: str | None = None) -> None:
        """Be a standby node: health says 429, or 473. Other requests are forwarded, that is: answered.

        Args:
            performance: A performance standby.
            active: Do not forward, but redirect (307) to the active node at this URL.
        """
        self.is_standby = Standby(performance, active)

    def activate(self) -> None:
        """Undo :meth:`standby`."""
        self.is_standby = None

    def fail(
        self,
        status: int,
        *errors: str,
        times: int | None = 1,
        path: str = "",
        retry_after: int | str | None = None,
        afterwards: bool = False,
    ) -> None:
        """Answer with an error.

        Args:
            status: The HTTP status.
            *errors: The texts of ``errors``.
            times: How many requests fail; None for all until :meth:`heal`.
            path: The start of the paths that fail.
            retry_after: The header ``Retry-After``.
            afterwards: Do what was asked for first.
        """
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        body = json.dumps({"errors": list(errors)}).encode()
        self._faults.append(Fault(path, times, status, body, headers, afterwards=afterwards))

    def slow(self, seconds: float, *, times: int | None = 1, path: str = "") -> None:
        """Answer late, as long as the server is not closed."""
        self._faults.append(Fault(path, times, delay=seconds))

    def drop(self, *, times: int | None = 1, path: str = "", afterwards: bool = False) -> None:
        """Close the connection without an answer; ``afterwards`` means: after doing what was asked for."""
        self._faults.append(Fault(path, times, drop=True, afterwards=afterwards))

    def garble(self, body: bytes = b"<html>", *, status: int = 200, times: int | None = 1, path: str = "") -> None:
        """Answer with something that is not JSON, as a proxy in between does."""
        self._faults.append(Fault(path, times, status, body, {"Content-Type": "text/html"}))

    def heal(self) -> None:
        """Forget every fault."""
        self._faults.clear()

    def take_fault(self, path: str) -> Fault | None:
        """Return the fault that a request to this path runs into, and count it."""
        for fault in self._faults:
            if path.startswith(fault.path):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None
