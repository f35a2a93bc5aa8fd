"""The one HTTP client of every connector.

It resolves a host once, judges every answer by the egress policy, connects to a judged address with the original
``Host`` and server name, judges again at every redirect, drops credentials across origins, knows no proxy
variables and no cookies, and bounds time and size. Use :func:`egress_client` unless a test needs one of its own.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpcore2
import httpx2
from automate_core import settings
from automate_core.egress import EgressPolicy, Target, parse_url
from automate_core.egress.resolving import Resolver, deadline_at, resolve_host
from automate_core.errors import PermanentError, SSRFBlocked, TransientError
from automate_core.policy import EffectivePolicy, current_policy
from automate_core.retry import parse_retry_after

from automate_connectors._network import CheckedBackend, Connect, connect_tcp
from automate_connectors._requests import Hop, encode_body, first_hop, follow_redirect
from automate_connectors._responses import EgressResponse

if TYPE_CHECKING:
    import ssl

    from automate_core.settings import PolicySettings

__all__ = [
    "Connect",
    "EgressClient",
    "EgressResponse",
    "EgressTransport",
    "Resolver",
    "egress_client",
    "parse_retry_after",
]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DECODABLE = frozenset({"", "identity", "gzip", "deflate"})


# -- one hop ----------------------------------------------------------------------------------------------------------


class EgressTransport(httpx2.BaseTransport):
    """One HTTP exchange under the egress policy; the part that a vendor's client built on httpx2 can be given.

    Connections are kept for reuse by scheme, host and port. Each was made to an address that this transport's policy
    allowed; another policy takes another transport.

    Args:
        policy: What may be called; None takes the installation's policy of now.
        resolver: Finds the addresses of a host; None asks the system.
        connect: Connects to an address; None opens a TCP socket.
        ssl_context: What certificates are trusted; None trusts the system's.
    """

    def __init__(
        self,
        policy: EgressPolicy | None = None,
        *,
        resolver: Resolver | None = None,
        connect: Connect | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.policy = current_policy().egress if policy is None else policy
        self._pool = httpcore2.ConnectionPool(
            ssl_context=ssl_context or _system_trust(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=CheckedBackend(self.policy, resolver or resolve_host, connect or connect_tcp),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return the answer, its body not yet read.

        Args:
            request: The request.

        Raises:
            SSRFBlocked: If the policy refuses the URL or an address of its host.
            TransientError: If nothing answers in time, or the connection breaks.
            PermanentError: If the request cannot be sent at all, or the server's certificate is not accepted.
        """
        url, target = request.url, parse_url(str(request.url))
        host = url.raw_host.decode("ascii")
        if (url.scheme, host, url.port or target.port) != (target.scheme, target.host, target.port):
            raise SSRFBlocked("The URL is refused: it can be read in two ways.")
        with _normalised(target):
            answer = self._pool.handle_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(scheme=url.raw_scheme, host=host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        body = _Body(answer, target, request.extensions.get("max_bytes"))
        return httpx2.Response(answer.status, headers=answer.headers, stream=body, request=request)

    def close(self) -> None:
        """Close every kept connection."""
        self._pool.close()


@cache
def _system_trust() -> ssl.SSLContext:
    return httpcore2.default_ssl_context()  # reads every root certificate: once per process


class _Body(httpx2.SyncByteStream):
    def __init__(self, answer: httpcore2.Response, target: Target, cap: int | None) -> None:
        self._answer = answer
        self._target = target
        self._cap = cap

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        with _normalised(self._target):
            for chunk in self._answer.iter_stream():
                received += len(chunk)
                # What comes after the end of a compressed body unpacks to nothing, yet zlib would keep all of it. What
                # cannot be compressed grows by less than a hundredth.
                if self._cap is not None and received > self._cap + self._cap // 100 + 1024:
                    raise _too_large(self._target, self._cap)
                yield chunk

    def close(self) -> None:
        self._answer.close()


@contextmanager
def _normalised(target: Target) -> Generator[None]:
    try:
        yield
    except (httpcore2.TimeoutException, TimeoutError) as error:
        raise TransientError(f"{target.origin} did not answer in time.", context=_where(target)) from error
    except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
        raise TransientError(
            f"The connection to {target.origin} broke ({type(error).__name__}).", context=_where(target)
        ) from error
    except (httpcore2.LocalProtocolError, httpcore2.UnsupportedProtocol) as error:
        raise PermanentError(
            f"The request to {target.origin} is malformed: {error}.", context=_where(target)
        ) from error


def _where(target: Target) -> dict[str, Any]:
    return {"host": target.host, "port": target.port}


# -- the whole call ---------------------------------------------------------------------------------------------------


class EgressClient:
    """Calls URLs under the egress policy. Safe to share between threads.

    Args:
        policy: What may be called; None takes the installation's policy of now.
        timeout: Seconds for a whole call: resolving, redirects and reading included.
        max_bytes: Bytes of an answer, decompressed; None takes ``POLICY.egress_max_bytes`` of now.
        max_redirects: Redirects that are followed.
        resolver: Finds the addresses of a host; for tests.
        connect: Connects to an address; for tests.
        ssl_context: What certificates are trusted; None trusts the system's.
    """

    def __init__(
        self,
        policy: EgressPolicy | None = None,
        *,
        timeout: float = 30.0,
        max_bytes: int | None = None,
        max_redirects: int = 5,
        resolver: Resolver | None = None,
        connect: Connect | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._transport = EgressTransport(policy, resolver=resolver, connect=connect, ssl_context=ssl_context)
        self._timeout = timeout
        self._max_bytes = current_policy().max_bytes if max_bytes is None else max_bytes
        self._max_redirects = max_redirects
        weakref.finalize(self, self._transport.close)

    @property
    def policy(self) -> EgressPolicy:
        """What may be called."""
        return self._transport.policy

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Mapping[str, Any] | None = None,
        content: str | bytes | None = None,
        timeout: float | None = None,
        max_bytes: int | None = None,
        follow_redirects: bool = True,
    ) -> EgressResponse:
        """Call a URL and read the whole answer.

        A status of 400 or more is an answer, not an error: see :meth:`EgressResponse.raise_for_status`.

        Args:
            method: ``GET HEAD OPTIONS POST PUT PATCH DELETE``.
            url: An absolute http or https URL.
            headers: Further headers. Those that belong to the connection, such as ``Host``, are refused.
            params: Added to the query; a list repeats its name, None is left out.
            json: A JSON value to send.
            data: A form to send.
            content: A text or bytes to send. At most one of these three.
            timeout: Seconds for the whole call; None takes the client's.
            max_bytes: Bytes of the answer, decompressed; None takes the client's.
            follow_redirects: Whether redirects are followed, or returned.

        Returns:
            The answer.

        Raises:
            SSRFBlocked: If the policy refuses the URL, an address of its host, or a redirect; nothing was sent there.
            TransientError: If a name does not resolve, nothing answers in time, or the connection breaks.
            PermanentError: If the answer is too large, has an encoding that was not asked for, redirects too often, or
                redirects a body to another origin.
            InvalidInputError: If the method, a header or the body is malformed.
        """
        hop = first_hop(method, url, headers, params, encode_body(json, data, content))
        cap = self._max_bytes if max_bytes is None else max_bytes
        seconds = self._timeout if timeout is None else timeout
        redirects: list[str] = []
        with deadline_at(time.monotonic() + seconds):
            for _ in range(self._max_redirects + 1):
                response = self._send(hop, seconds, cap, skip=_REDIRECTS if follow_redirects else frozenset())
                location = response.headers.get("location")
                if not follow_redirects or location is None or response.status not in _REDIRECTS:
                    return replace(response, redirects=tuple(redirects))
                redirects.append(hop.target.origin)
                hop = follow_redirect(hop, response.status, location)
        raise PermanentError(f"{hop.target.origin} redirects more than {self._max_redirects} times.")

    def _send(self, hop: Hop, seconds: float, cap: int, skip: frozenset[int]) -> EgressResponse:
        limits = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        try:
            request = httpx2.Request(
                hop.method,
                httpx2.URL(hop.target.url),
                headers=hop.headers,
                content=hop.body or None,
                extensions={"timeout": limits, "max_bytes": cap},
            )
        except (httpx2.InvalidURL, UnicodeError) as error:  # UnicodeError: the host has an xn-- label that is none
            raise SSRFBlocked(f"The URL is refused: {error}.") from None
        response = self._transport.handle_request(request)
        try:
            content = b"" if response.status_code in skip else _read(response, hop.target, cap)
        finally:
            response.close()
        names = {name.lower() for name in response.headers}
        joined = {name: response.headers[name] for name in names}
        return EgressResponse(response.status_code, hop.target.url, joined, content)

    def close(self) -> None:
        """Close every kept connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _read(response: httpx2.Response, target: Target, cap: int) -> bytes:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in _DECODABLE:  # also refuses stacked encodings, which multiply what a small answer unpacks to
        raise PermanentError(f"{target.origin} answered in the encoding {encoding!r}, which was not asked for.")
    content = bytearray()
    try:
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > cap:
                raise _too_large(target, cap)
    except httpx2.DecodingError as error:
        raise PermanentError(f"{target.origin} answered with a body that does not decompress.") from error
    return bytes(content)


def _too_large(target: Target, cap: int) -> PermanentError:
    return PermanentError(
        f"{target.origin} answered with more than {cap} bytes. POLICY.egress_max_bytes is the limit of calls that name "
        "none.",
        context={"max_bytes": cap},
    )


# -- the shared client ------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_shared: tuple[int, PolicySettings | None, dict[EffectivePolicy, EgressClient]] = (0, None, {})


def egress_client(tenant: str = "") -> EgressClient:
    """Return the client that the connectors of this process share.

    It is made anew when the settings' policy has changed, and in a forked child, whose parent owns the sockets.

    Args:
        tenant: The tenant whose policy holds; :meth:`~automate_connectors.base.HTTPConnector.egress` passes that of
            the run. Empty is the installation's policy.
    """
    global _shared
    settled, policy = settings.current().policy, current_policy(tenant)
    with _lock:
        if _shared[:2] != (os.getpid(), settled):
            # The last ones close themselves when the calls that other threads make with them have ended.
            _shared = (os.getpid(), settled, {})
        clients = _shared[2]
        if policy not in clients:
            clients[policy] = EgressClient(policy.egress, max_bytes=policy.max_bytes)
        return clients[policy]
