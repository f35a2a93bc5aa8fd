"""Sockets for the egress client: resolve once, judge every answer, connect to a judged address, keep the deadline."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any

import httpcore2
from automate_core.egress import EgressPolicy, Target
from automate_core.egress.targets import DEFAULT_PORTS
from automate_core.errors import AutomateError, PermanentError, TransientError

__all__ = ["CheckedBackend", "Connect", "Resolver", "connect_tcp", "deadline_at", "remaining", "resolve_host"]

Resolver = Callable[[str, int], Sequence[str]]
"""Takes a host name and a port, returns every address of it as text, raises OSError where there is none."""

Connect = Callable[[str, int, float], socket.socket]
"""Takes an address, a port and seconds, returns a connected socket, raises OSError where it cannot."""

_deadline: ContextVar[float | None] = ContextVar("automate_egress_deadline", default=None)


@contextmanager
def deadline_at(moment: float) -> Generator[None]:
    """Bound everything that the sockets do inside the block.

    Args:
        moment: ``time.monotonic()`` at which it must end.
    """
    token = _deadline.set(moment)
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining(timeout: float | None) -> float | None:
    """Return the seconds that one socket operation may take.

    Args:
        timeout: What the HTTP layer allows for it; None is no limit.

    Raises:
        TimeoutError: If the deadline has passed.
    """
    moment = _deadline.get()
    if moment is None:
        return timeout
    left = moment - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left if timeout is None else min(left, timeout)


def resolve_host(host: str, port: int) -> list[str]:
    """Ask the system's resolver for every IPv4 and IPv6 address of a host.

    Args:
        host: A host name.
        port: The port.

    Raises:
        OSError: If it does not resolve.
    """
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))


def connect_tcp(address: str, port: int, timeout: float) -> socket.socket:
    """Open a TCP connection to an address; nothing is resolved.

    Args:
        address: An IP address.
        port: The port.
        timeout: Seconds.

    Raises:
        OSError: If it cannot be reached.
    """
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect((address, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


class CheckedBackend(httpcore2.NetworkBackend):
    """Opens connections for an HTTP pool, to addresses that the policy allows.

    Args:
        policy: Judges the addresses.
        resolver: Finds them.
        connect: Connects to one.
    """

    def __init__(self, policy: EgressPolicy, resolver: Resolver, connect: Connect) -> None:
        self._policy = policy
        self._resolver = resolver
        self._connect = connect

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Resolve, judge all answers, then connect to the first that accepts.

        Args:
            host: A host name or an IP address.
            port: The port.
            timeout: Seconds for all of it.
            local_address: Not supported; the pool is made without.
            socket_options: Not supported; the pool is made without.

        Raises:
            SSRFBlocked: If the name or one answer is not allowed; no socket was opened.
            TransientError: If the name does not resolve or nothing accepts the connection.
        """
        target = Target("https" if port == DEFAULT_PORTS["https"] else "http", host, port)
        self._policy.check_name(target)  # what is denied by name is not even looked up
        allowed = time.monotonic() + (remaining(timeout) or 60.0)
        addresses = [host] if target.literal else self._resolve(target, allowed)
        self._policy.check(target, addresses)
        return _SocketStream(self._connect_first(target, addresses, allowed))

    def _resolve(self, target: Target, until: float) -> list[str]:
        # getaddrinfo cannot be interrupted: it runs in a thread of its own, and whoever waits does so until the
        # deadline. The thread is a daemon, so that a dead name server does not hold up the end of the process.
        answer: SimpleQueue[list[str] | Exception] = SimpleQueue()

        def ask() -> None:
            try:
                answer.put(list(self._resolver(target.host, target.port)))
            except Exception as error:  # noqa: BLE001 - handed to the thread that waits
                answer.put(error)

        threading.Thread(target=ask, name="automate-resolve", daemon=True).start()
        try:
            found = answer.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            raise TransientError(f"{target.host} was not resolved in time.", context={"host": target.host}) from None
        if isinstance(found, AutomateError):
            raise found
        if isinstance(found, Exception):
            raise TransientError(
                f"{target.host} cannot be resolved ({type(found).__name__}).", context={"host": target.host}
            ) from found
        return found

    def _connect_first(self, target: Target, addresses: Sequence[str], until: float) -> socket.socket:
        failure: OSError = TimeoutError("the deadline has passed")
        for tried, address in enumerate(addresses):
            left = until - time.monotonic()
            if left <= 0:
                break
            try:
                return self._connect(str(ip_address(address)), target.port, left / (len(addresses) - tried))
            except OSError as error:
                failure = error
        raise TransientError(
            f"{target.endpoint} cannot be reached ({failure.strerror or type(failure).__name__}).",
            context={"host": target.host, "port": target.port},
        ) from failure


@contextmanager
def _mapped(timed_out: type[Exception], failed: type[Exception]) -> Generator[None]:
    try:
        yield
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except ssl.SSLCertVerificationError as error:
        raise PermanentError(f"The server's certificate is not accepted: {error.verify_message}.") from error
    except OSError as error:
        raise failed(str(error)) from error


class _SocketStream(httpcore2.NetworkStream):
    """A connected socket whose every operation ends at the deadline of the request that uses it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _mapped(httpcore2.ReadTimeout, httpcore2.ReadError):
            self._sock.settimeout(remaining(timeout))
            return self._sock.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        with _mapped(httpcore2.WriteTimeout, httpcore2.WriteError):
            while view:
                self._sock.settimeout(remaining(timeout))
                view = view[self._sock.send(view) :]

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        try:
            with _mapped(httpcore2.ConnectTimeout, httpcore2.ConnectError):
                self._sock.settimeout(remaining(timeout))
                return _SocketStream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname))
        except BaseException:
            self.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
        if info == "is_readable":
            return self._is_readable()
        return None

    def _is_readable(self) -> bool:
        if self._sock.fileno() < 0:
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            return bool(selector.select(0))
