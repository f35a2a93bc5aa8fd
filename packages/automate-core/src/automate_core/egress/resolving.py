"""From a host to the addresses that may be connected to: resolved once, all judged, in time.

The part that clients of different HTTP libraries share. It opens no connection.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address

from automate_core.egress.policy import EgressPolicy
from automate_core.egress.targets import Target
from automate_core.errors import AutomateError, TransientError

__all__ = ["Resolver", "acheck_host", "attempts", "check_host", "deadline_at", "remaining", "resolve_host"]

Resolver = Callable[[str, int], Sequence[str]]
"""Takes a host name and a port, returns every address of it as text, raises OSError where there is none."""

_deadline: ContextVar[float | None] = ContextVar("automate_egress_deadline", default=None)


# -- time -------------------------------------------------------------------------------------------------------------


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


def attempts(addresses: Sequence[str], until: float) -> Iterator[tuple[str, float]]:
    """Share the time that is left among the addresses that have not been tried.

    Args:
        addresses: What :func:`check_host` returned.
        until: ``time.monotonic()`` at which the last attempt must end.

    Yields:
        An address in its usual form and the seconds for it; nothing more once the time is over.
    """
    for tried, address in enumerate(addresses):
        left = until - time.monotonic()
        if left <= 0:
            return
        yield str(ip_address(address)), left / (len(addresses) - tried)


# -- addresses --------------------------------------------------------------------------------------------------------


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


def check_host(policy: EgressPolicy, target: Target, resolver: Resolver, until: float) -> Sequence[str]:
    """Resolve a target once and judge every answer.

    Args:
        policy: Judges it.
        target: Where a connection goes.
        resolver: Finds the addresses; not asked for what is denied by name, nor for an address.
        until: ``time.monotonic()`` at which it must be resolved.

    Returns:
        The addresses: whoever connects takes one of these.

    Raises:
        SSRFBlocked: If the name or one answer is not allowed.
        TransientError: If the name does not resolve, or not in time.
    """
    policy.check_name(target)
    addresses: Sequence[str] = [target.host]
    if target.literal is None:
        with _typed(target):
            addresses = _asked(target, resolver).result(max(0.0, until - time.monotonic()))
    policy.check(target, addresses)
    return addresses


async def acheck_host(policy: EgressPolicy, target: Target, resolver: Resolver, until: float) -> Sequence[str]:
    """Do what :func:`check_host` does without holding up the event loop.

    Args:
        policy: Judges it.
        target: Where a connection goes.
        resolver: Finds the addresses, in a thread.
        until: ``time.monotonic()`` at which it must be resolved.

    Returns:
        The addresses.

    Raises:
        SSRFBlocked: As :func:`check_host`.
        TransientError: As :func:`check_host`.
    """
    import asyncio  # whoever awaits this has imported it

    policy.check_name(target)
    addresses: Sequence[str] = [target.host]
    if target.literal is None:
        with _typed(target):
            answer = asyncio.wrap_future(_asked(target, resolver))
            addresses = await asyncio.wait_for(answer, max(0.0, until - time.monotonic()))
    policy.check(target, addresses)
    return addresses


def _asked(target: Target, resolver: Resolver) -> Future[list[str]]:
    # getaddrinfo cannot be interrupted: it runs in a thread of its own, and whoever waits does so until the deadline.
    # The thread is a daemon, so that a dead name server does not hold up the end of the process.
    answer: Future[list[str]] = Future()
    answer.set_running_or_notify_cancel()  # one that nobody waits for any more takes its answer all the same

    def ask() -> None:
        try:
            answer.set_result(list(resolver(target.host, target.port)))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            answer.set_exception(error)

    threading.Thread(target=ask, name="automate-resolve", daemon=True).start()
    return answer


@contextmanager
def _typed(target: Target) -> Generator[None]:
    try:
        yield
    except AutomateError:
        raise
    except TimeoutError:
        raise TransientError(f"{target.host} was not resolved in time.", context={"host": target.host}) from None
    except Exception as error:
        raise TransientError(
            f"{target.host} cannot be resolved ({type(error).__name__}).", context={"host": target.host}
        ) from error
