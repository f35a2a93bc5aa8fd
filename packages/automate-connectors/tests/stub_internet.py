"""An internet of plain objects for tests of the egress client: a resolver, sockets, TLS, a clock. Nothing is sent."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from automate_connectors.egress import EgressClient
from automate_core.egress import EgressPolicy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def redirect(location: str, status: int = 302) -> bytes:
    """An answer that redirects."""
    head = f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\nLocation: "
    return head.encode() + location.encode("utf-8", "surrogatepass") + b"\r\n\r\n"


def answer(body: bytes, **headers: str) -> bytes:
    """An answer with a body that ends with the connection."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\nConnection: close\r\n{lines}\r\n".encode() + body


class Clock:
    """Stands in for the module ``time``: it moves when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


class _Socket:
    """A connected socket; what comes back is chosen when the head of the request is complete."""

    def __init__(self, net: StubInternet, address: str) -> None:
        self._net = net
        self._address = address
        self._sent = bytearray()
        self._incoming: Iterator[bytes] | None = None
        self._rest = b""
        self._timeout: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def send(self, data: Any) -> int:
        self._sent += data
        return len(data)

    def recv(self, size: int) -> bytes:
        if self._incoming is None:
            self._incoming = iter(self._net.serve(self._address, bytes(self._sent)))
        if not self._rest:
            self._net.clock.now += self._net.pause
            if self._timeout is not None and self._net.pause > self._timeout:
                raise TimeoutError("timed out")
            self._rest = next(self._incoming, b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self._rest = b""


class StubInternet:
    """Names, addresses and answers.

    A name resolves to what :attr:`names` says, in turn where it says several answers; a number that C libraries read as
    an address resolves to it; nothing else resolves.
    """

    def __init__(self) -> None:
        self.names: dict[str, Sequence[str] | Iterator[Sequence[str]]] = {}
        self.answers: dict[str, bytes | Callable[[], Iterator[bytes]]] = {}
        self.asked: list[str] = []
        self.connected: list[tuple[str, int]] = []
        self.requests: list[bytes] = []
        self.server_names: list[str | None] = []
        self.clock = Clock()
        self.pause = 0.0
        """Seconds that pass on :attr:`clock` before each piece of an answer."""

    def resolve(self, host: str, port: int) -> list[str]:
        """Resolve as told, numbers as ``inet_aton`` reads them."""
        self.asked.append(host)
        if host in self.names:
            known = self.names[host]
            return list(next(known)) if isinstance(known, Iterator) else list(known)
        return [socket.inet_ntoa(socket.inet_aton(host))]

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        """Connect to anything."""
        self.connected.append((address, port))
        return cast(socket.socket, _Socket(self, address))

    def serve(self, address: str, request: bytes) -> Iterator[bytes]:
        """Give the pieces of the answer to a request, by its path, or by its address before the path."""
        self.requests.append(request)
        path = request.split(b" ", 2)[1].decode()
        given = self.answers.get(f"{address}{path}", self.answers.get(path, OK))
        yield from given() if callable(given) else (given,)

    def client(self, policy: EgressPolicy | None = None, **options: Any) -> EgressClient:
        """Make a client that lives in here, for http and https."""
        tls: Any = SimpleNamespace(set_alpn_protocols=lambda names: None, wrap_socket=self._wrap)
        return EgressClient(
            policy or EgressPolicy(), resolver=self.resolve, connect=self.connect, ssl_context=tls, **options
        )

    def headers(self, number: int = -1) -> Mapping[str, str]:
        """The headers of a request by lower-case name."""
        lines = self.requests[number].partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def _wrap(self, sock: Any, server_hostname: str | None = None) -> Any:
        self.server_names.append(server_hostname)
        return sock
