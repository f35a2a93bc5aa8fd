"""The HTTP clients under the SDKs. Imports httpx2, so it is imported at the first call."""

from __future__ import annotations

import ssl
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import httpcore2
import httpx2
from automate_core.egress import EgressPolicy, Target
from automate_core.egress.resolving import acheck_host, attempts, check_host, deadline_at, remaining, resolve_host
from automate_core.errors import LLMError, TransientError

__all__ = ["MAX_BYTES", "async_client", "never_reached", "sync_client"]

MAX_BYTES = 32 * 1024 * 1024
"""Bytes of an answer, decompressed."""

_TRANSFER = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_PIECE = 65_536


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Share one context: reading the certificates takes longer than all else that a client needs."""
    return httpx2.create_ssl_context()


def sync_client(policy: EgressPolicy) -> httpx2.Client:
    """Return a client that calls what the policy allows, keeps to its deadline and reads a bounded answer.

    It follows no redirect, which could carry a key elsewhere, and knows no proxy of the environment. Its connections
    are kept, each to an address that was judged when it was made; another policy takes another client.

    Args:
        policy: What may be called.
    """
    return httpx2.Client(transport=_Transport(policy), follow_redirects=False)


def async_client(policy: EgressPolicy) -> httpx2.AsyncClient:
    """Return a client like :func:`sync_client`'s, whose caller bounds the whole call.

    Args:
        policy: What may be called.
    """
    return httpx2.AsyncClient(transport=_AsyncTransport(policy), follow_redirects=False)


def never_reached(error: BaseException) -> bool:
    """Whether an SDK's connection error says that nothing was sent.

    Args:
        error: What the SDK raised, with httpx's exception as its cause.
    """
    cause = error.__cause__
    return isinstance(
        cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
    )


# -- size -------------------------------------------------------------------------------------------------------------


class _Answer:
    """The body of an answer, as it comes in."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._content = bytearray()

    def add(self, part: bytes) -> None:
        self._content += part
        if len(self._content) > MAX_BYTES:
            raise LLMError(f"The provider answered with more than {MAX_BYTES} bytes.", context={"max_bytes": MAX_BYTES})

    def whole(self) -> httpx2.Response:
        headers = [pair for pair in self._response.headers.multi_items() if pair[0].lower() not in _TRANSFER]
        extensions = {name: value for name, value in self._response.extensions.items() if name == "http_version"}
        return httpx2.Response(
            self._response.status_code, headers=headers, content=bytes(self._content), extensions=extensions
        )


class _Transport(httpx2.HTTPTransport):
    """Reads the whole answer before the deadline that the request's timeout sets."""

    def __init__(self, policy: EgressPolicy) -> None:
        super().__init__(verify=_tls())
        # The one way to give httpx2 a network backend. httpx2 itself would call any address, and bounds each operation
        # of a socket, not their number: a server which sends a byte now and then would be waited for without end.
        self._pool = httpcore2.ConnectionPool(ssl_context=_tls(), network_backend=_Backend(policy))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        with deadline_at(time.monotonic() + request.extensions["timeout"]["read"]):
            response = super().handle_request(request)
            response.request = request
            answer = _Answer(response)
            try:
                for part in response.iter_bytes():
                    answer.add(part)
            finally:
                response.close()
        return answer.whole()


class _AsyncTransport(httpx2.AsyncHTTPTransport):
    """Reads the whole answer."""

    def __init__(self, policy: EgressPolicy) -> None:
        super().__init__(verify=_tls())
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=_tls(), network_backend=_AsyncBackend(policy))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        response.request = request
        answer = _Answer(response)
        try:
            async for part in response.aiter_bytes():
                answer.add(part)
        finally:
            await response.aclose()
        return answer.whole()


# -- where to, and how long -------------------------------------------------------------------------------------------


def _left(timeout: float | None, expired: type[Exception]) -> float | None:
    try:
        return remaining(timeout)
    except TimeoutError as error:
        raise expired(str(error)) from None


@contextmanager
def _unreached() -> Generator[None]:
    try:
        yield
    except TransientError as error:  # for the SDK a failure of HTTP, as is a connection that is refused
        raise httpcore2.ConnectError(error.message.removesuffix(".")) from error


class _Backend(httpcore2.SyncBackend):
    """Opens connections to addresses that the policy allows, whose every operation ends at the deadline of the call."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        until = time.monotonic() + (_left(timeout, httpcore2.ConnectTimeout) or 60.0)
        with _unreached():
            allowed = check_host(self._policy, Target.at(host, port), resolve_host, until)
        failure: Exception = httpcore2.ConnectTimeout("the deadline has passed")
        for address, seconds in attempts(allowed, until):
            try:
                return _Stream(super().connect_tcp(address, port, seconds, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class _AsyncBackend(httpcore2.AnyIOBackend):
    """Opens connections to addresses that the policy allows."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        until = time.monotonic() + (timeout or 60.0)
        with _unreached():
            allowed = await acheck_host(self._policy, Target.at(host, port), resolve_host, until)
        failure: Exception = httpcore2.ConnectTimeout("the deadline has passed")
        for address, seconds in attempts(allowed, until):
            try:
                return await super().connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], _left(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
