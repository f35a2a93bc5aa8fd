"""Waking on PostgreSQL: LISTEN on a connection of its own, with the proof that notifications arrive."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from automate_core.retry import RetryPolicy

from automate_outbox.wake.base import CHANNEL, WatchingWaker

__all__ = ["NotifyWaker"]

_PROBE = "probe:"
_SILENCE_SECONDS = 60.0
_PROOF_SECONDS = 2.0
_CONNECT_SECONDS = 10
_PAUSE_SECONDS = 0.002
_AFTER_LOSS = RetryPolicy(initial=0.2, max=30.0)
_AFTER_SILENCE = RetryPolicy(initial=5.0, factor=3.0, max=300.0)

_NOT_FOR_ASYNC = frozenset({"context", "cursor_factory", "row_factory"})
# A peer that is gone without a word is noticed after about 25 seconds, in silence as well as with data under way.
_TCP = {
    "connect_timeout": _CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class NotifyWaker(WatchingWaker):
    """Listens on the channel on which the store announces new items.

    That LISTEN succeeds proves nothing: a pooler in transaction mode accepts it and delivers nothing. So a probe is
    sent through a second, short connection, the way by which items are written, and has to arrive. Every notification
    is such a proof, other workers' probes too; after about a minute without one, a probe is sent again.

    Args:
        using: Alias of the database that the outbox is in.
        on_wake: Says "look now".
        listen_using: Alias of the database to listen on.
    """

    def __init__(self, using: str, on_wake: Callable[[], object], *, listen_using: str) -> None:
        super().__init__(using, on_wake)
        self.listen_using = listen_using

    def _prepare(self) -> None:
        self._loop = asyncio.SelectorEventLoop()  # psycopg takes no other one on Windows
        self._task = self._loop.create_task(self._listen())

    def _interrupt(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: it has just ended by itself
            self._loop.call_soon_threadsafe(self._task.cancel)

    def _watch(self) -> None:
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            return
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _listen(self) -> None:
        """Listen on one connection after the other."""
        losses = silences = 0
        while True:
            try:
                async with _connected(self.listen_using, "listens") as connection:
                    if await self._begin(connection):
                        losses = silences = 0
                        self._become("notify")
                        await self._serve(connection)
                        self._become("poll", "notifications ceased to arrive, connecting again")
                        continue
                    silences += 1
                    self._become("poll", self._why_silent())
                    pause = _AFTER_SILENCE.delay(silences, random=random.random())  # noqa: S311 - jitter
            except (psycopg.Error, OSError) as error:
                losses += 1
                self._become("poll", "the connection that listens is lost", f"{type(error).__name__}: {error}")
                pause = _AFTER_LOSS.delay(losses, random=random.random())  # noqa: S311 - jitter
            await asyncio.sleep(pause)

    async def _begin(self, connection: psycopg.AsyncConnection) -> bool:
        """Subscribe, and return whether that has an effect."""
        async with asyncio.timeout(_CONNECT_SECONDS):
            await connection.execute(f"LISTEN {CHANNEL}")
        self._on_wake()  # what was committed while nobody listened
        if await self._prove(connection):
            return True
        async with asyncio.timeout(_CONNECT_SECONDS):
            # The pooler's connection would hand our notifications to its next user.
            await connection.execute(f"UNLISTEN {CHANNEL}")
        return False

    async def _serve(self, connection: psycopg.AsyncConnection) -> None:
        """Pass on what arrives, until nothing does although it should."""
        while True:
            jitter = 1 + random.random() / 2  # noqa: S311 - the first of many workers proves it to all of them
            if await self._hear(connection, _SILENCE_SECONDS * jitter):
                await asyncio.sleep(_PAUSE_SECONDS)  # under load they come by the thousand: take them together
            elif not await self._prove(connection):
                return

    async def _prove(self, connection: psycopg.AsyncConnection) -> bool:
        """Return whether a notification that is sent now arrives.

        It is sent by another connection: a pooler in transaction mode may well deliver what a client sends to itself.
        """
        probe = f"{_PROBE}{secrets.token_hex(8)}"
        async with _connected(self.using, "probes") as sender, asyncio.timeout(_CONNECT_SECONDS):
            await sender.execute("SELECT pg_notify(%s, %s)", (CHANNEL, probe))
        deadline = self._loop.time() + _PROOF_SECONDS
        while (left := deadline - self._loop.time()) > 0:
            if probe in await self._hear(connection, left):
                return True
        return False

    async def _hear(self, connection: psycopg.AsyncConnection, timeout: float) -> set[str]:
        """Wait for notifications and wake, unless they are probes; return the payloads, none where time ran out."""
        heard = {notify.payload async for notify in connection.notifies(timeout=timeout, stop_after=1)}
        if not all(payload.startswith(_PROBE) for payload in heard):
            self._on_wake()
        return heard

    def _why_silent(self) -> str:
        if self.listen_using == self.using:
            return (
                f"notifications do not arrive over {self.using!r}, as behind a pooler in transaction mode. Name an "
                "alias of DATABASES that connects to PostgreSQL directly in OUTBOX.listen_using"
            )
        return (
            f"notifications do not arrive over OUTBOX.listen_using {self.listen_using!r}. It has to connect to the "
            f"database of {self.using!r}, and without a pooler in transaction mode"
        )


@asynccontextmanager
async def _connected(alias: str, purpose: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Connect as Django would, for a block."""
    process = os.getpid()
    connection = await psycopg.AsyncConnection.connect(**_parameters(alias, purpose), autocommit=True)
    try:
        yield connection
    finally:
        if process == os.getpid():  # a forked child that drops its copy must not end the session of its parent
            await connection.close()


def _parameters(alias: str, purpose: str) -> dict[str, Any]:
    from django.db import connections

    given = connections[alias].get_connection_params()
    name = f"automate-outbox {purpose} (process {os.getpid()})"
    used = {key: value for key, value in given.items() if key not in _NOT_FOR_ASYNC}
    return {**_TCP, **used, "application_name": name}
