"""The HTTP clients under the SDKs. Imports httpx2, so it is imported at the first call."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from functools import lru_cache

import httpx2

__all__ = ["async_client", "never_reached", "sync_client"]


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Share one context: reading the certificates takes longer than all else that a client needs."""
    return httpx2.create_ssl_context()


def sync_client() -> httpx2.Client:
    """Return a client that follows no redirect, which could carry a key elsewhere, and that keeps to its deadline."""
    return httpx2.Client(verify=_tls(), follow_redirects=False, event_hooks={"request": [_start], "response": [_bound]})


def async_client() -> httpx2.AsyncClient:
    """Return a client that follows no redirect; its caller bounds the whole call."""
    return httpx2.AsyncClient(verify=_tls(), follow_redirects=False)


def never_reached(error: BaseException) -> bool:
    """Whether an SDK's connection error says that nothing was sent.

    Args:
        error: What the SDK raised, with httpx's exception as its cause.
    """
    cause = error.__cause__
    return isinstance(
        cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
    )


def _start(request: httpx2.Request) -> None:
    request.extensions["automate_deadline"] = time.monotonic() + request.extensions["timeout"]["read"]


def _bound(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _Bounded(response.stream, response.request.extensions["automate_deadline"])


class _Bounded(httpx2.SyncByteStream):
    """A body that must be complete by a time; httpx itself only bounds the wait for its next part."""

    def __init__(self, stream: httpx2.SyncByteStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            if time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("the answer was not complete in time")
            yield part

    def close(self) -> None:
        self._stream.close()
