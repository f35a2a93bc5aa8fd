"""A TCP proxy between one worker and its database, which can cut, delay, freeze, and lose exactly one answer."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Proxy"]

_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Pair:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket
    frames: Callable[[bytes], list[bytes]]
    losing: bool = False
    passed: int = 0


@dataclass(slots=True)
class _Trap:
    """The statement whose answer is lost."""

    pattern: re.Pattern[bytes]
    sprung: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Forwards to one server; a context manager.

    Args:
        target: Host and port of the server.
        protocol: ``postgres`` or ``mariadb``: how statements are found in what the client sends.
    """

    def __init__(self, target: tuple[str, int], protocol: str) -> None:
        self._target, self._protocol = target, protocol
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, _Pair] = {}
        self._lock = threading.RLock()
        self._trap: _Trap | None = None
        self._frozen = self._refusing = False
        self._delay = 0.0
        self._cut_after: int | None = None
        self.lost = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="faults-proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- faults -----------------------------------------------------------------------------------------------------

    def cut(self) -> int:
        """Reset every connection, and return how many there were."""
        with self._lock:
            pairs = {id(pair): pair for pair in self._pairs.values()}.values()
            for pair in list(pairs):
                self._drop(pair)
            return len(pairs)

    def lose_answer(self, pattern: bytes) -> threading.Event:
        """Forward the next statement that matches, and reset the connection when the server answers it.

        Args:
            pattern: A regular expression, matched at the beginning of the statement.

        Returns:
            Set when it has happened.
        """
        trap = _Trap(re.compile(pattern, re.DOTALL))
        with self._lock:
            self._trap = trap
        return trap.sprung

    def freeze(self) -> None:
        """Forward nothing in either direction from now on, and keep every connection open: a black hole."""
        self._frozen = True

    def thaw(self) -> None:
        """Forward again, from where it was."""
        self._frozen = False

    def refuse(self) -> None:
        """Reset every connection, and every new one at once: the server is away."""
        self._refusing = True
        self.cut()

    def admit(self) -> None:
        """Accept connections again."""
        self._refusing = False

    def delay(self, seconds: float) -> None:
        """Wait before each piece is forwarded.

        Args:
            seconds: How long.
        """
        self._delay = seconds

    def cut_after(self, size: int) -> None:
        """Reset the next connection that has sent so many bytes.

        Args:
            size: How many, from now on.
        """
        with self._lock:
            for pair in self._pairs.values():
                pair.passed = 0
            self._cut_after = size

    def close(self) -> None:
        """Stop forwarding."""
        self._closing.set()
        self._thread.join()
        self.cut()
        self._listener.close()
        self._selector.close()

    # -- forwarding -------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._closing.is_set():
            if self._frozen:
                time.sleep(0.01)
                continue
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._pairs:
                        self._forward(key.fileobj, self._pairs[key.fileobj])

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._refusing:
            _reset(client)
            return
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            _reset(client)  # the server is down
            return
        frames = _postgres_frames() if self._protocol == "postgres" else _mysql_frames()
        pair = _Pair(client, server, frames)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.settimeout(5)
            self._pairs[end] = pair
            self._selector.register(end, selectors.EVENT_READ)

    def _forward(self, source: socket.socket, pair: _Pair) -> None:
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        if not data or (pair.losing and source is pair.server):
            if pair.losing and self._trap is not None:
                self._trap.sprung.set()
                self._trap = None
                self.lost += 1
            self._drop(pair)
            return
        if self._delay:
            time.sleep(self._delay)
        if source is pair.client and self._stops(data, pair):
            self._drop(pair)
            return
        with contextlib.suppress(OSError):  # found out by the next recv
            (pair.server if source is pair.client else pair.client).sendall(data)

    def _stops(self, data: bytes, pair: _Pair) -> bool:
        """Look at what a client sends; say whether the connection ends before it is forwarded."""
        statements = pair.frames(data)
        trap = self._trap
        if trap is not None and not any(other.losing for other in self._pairs.values()):
            pair.losing = any(trap.pattern.match(statement) for statement in statements)
        pair.passed += len(data)
        if self._cut_after is not None and pair.passed > self._cut_after:
            self._cut_after = None
            return True
        return False

    def _drop(self, pair: _Pair) -> None:
        for end in (pair.client, pair.server):
            if self._pairs.pop(end, None) is not None:
                self._selector.unregister(end)
            _reset(end)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()


def _postgres_frames() -> Callable[[bytes], list[bytes]]:
    """Return what finds the texts of statements in what a PostgreSQL client sends: messages Query and Parse."""
    buffer = bytearray()
    started = False

    def feed(data: bytes) -> list[bytes]:
        nonlocal started
        buffer.extend(data)
        found = []
        while len(buffer) >= (5 if started else 8):
            size = int.from_bytes(buffer[1:5] if started else buffer[:4], "big") + int(started)
            if len(buffer) < size:
                break
            message = bytes(buffer[:size])
            del buffer[:size]
            if not started:
                # Requests for encryption and cancellation come without a protocol version of the real start.
                started = message[4:6] == b"\x00\x03"
            elif message[:1] == b"Q":
                found.append(message[5:-1])
            elif message[:1] == b"P":
                found.append(message[5:].partition(b"\x00")[2].partition(b"\x00")[0])
        return found

    return feed


def _mysql_frames() -> Callable[[bytes], list[bytes]]:
    """Return what finds the texts of statements in what a MySQL client sends: packets COM_QUERY."""
    buffer = bytearray()

    def feed(data: bytes) -> list[bytes]:
        buffer.extend(data)
        found = []
        while len(buffer) >= 4:
            size = int.from_bytes(buffer[:3], "little") + 4
            if len(buffer) < size:
                break
            number, payload = buffer[3], bytes(buffer[4:size])
            del buffer[:size]
            if number == 0 and payload[:1] == b"\x03":
                found.append(payload[1:])
        return found

    return feed
