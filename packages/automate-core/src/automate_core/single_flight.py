"""One call in the place of many equal ones that are made at the same time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["SingleFlight"]

T = TypeVar("T")


class _Abandoned(Exception):
    """Whoever did the work was interrupted; that says nothing about the work."""


class _Flight:
    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.landed: Future[Any] = Future()
        self.landed.set_running_or_notify_cancel()  # so that no waiter can cancel it for the others


class SingleFlight:
    """Lets the first of several equal calls do the work, and gives its result or exception to all of them.

    Threads wait for threads; tasks wait for tasks of their own event loop, and for threads. A thread never waits for a
    task: the task may need a thread of the same pool, and both would wait for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[tuple[object, Hashable], _Flight] = {}

    def run(self, key: Hashable, work: Callable[[], T]) -> T:
        """Do some work, or wait for another thread that does it.

        Args:
            key: Calls with an equal key are equal.
            work: What to do. Where it comes back here with its own key, it is done again rather than waited for.

        Returns:
            What the work returned.

        Raises:
            Exception: Whatever the work raised.
        """
        me = threading.get_ident()
        while True:
            flight, mine = self._join([(None, key)], me)
            if mine:
                return self._fly((None, key), flight, work)
            if flight.owner == me:
                return work()
            try:
                return flight.landed.result()  # type: ignore[no-any-return]  # what the leader's equal work returned
            except _Abandoned:
                continue

    async def arun(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Like :meth:`run`, for a task.

        Args:
            key: Calls with an equal key are equal.
            work: What to do.

        Returns:
            What the work returned.

        Raises:
            Exception: Whatever the work raised.
        """
        lane = (asyncio.get_running_loop(), key)
        me = asyncio.current_task()
        while True:
            flight, mine = self._join([(None, key), lane], me)
            if mine:
                return await self._afly(lane, flight, work)
            if flight.owner in (me, threading.get_ident()):
                return await work()
            try:
                return await asyncio.wrap_future(flight.landed)
            except _Abandoned:
                continue

    def forget(self, which: Callable[[Any], bool] = lambda key: True) -> None:
        """Let calls from now on do the work anew, though others are still at it.

        Args:
            which: Tells of a key whether it is meant.
        """
        with self._lock:
            for lane in [lane for lane in self._flights if which(lane[1])]:
                del self._flights[lane]

    def _join(self, lanes: list[tuple[object, Hashable]], owner: object) -> tuple[_Flight, bool]:
        """Find the flight of one of the lanes; where there is none, start it in the last one."""
        with self._lock:
            for lane in lanes:
                if (flight := self._flights.get(lane)) is not None:
                    return flight, False
            flight = self._flights[lanes[-1]] = _Flight(owner)
            return flight, True

    def _fly(self, lane: tuple[object, Hashable], flight: _Flight, work: Callable[[], T]) -> T:
        try:
            result = work()
        except BaseException as error:
            self._land(lane, flight).set_exception(error if isinstance(error, Exception) else _Abandoned())
            raise
        self._land(lane, flight).set_result(result)
        return result

    async def _afly(self, lane: tuple[object, Hashable], flight: _Flight, work: Callable[[], Awaitable[T]]) -> T:
        try:
            result = await work()
        except BaseException as error:
            self._land(lane, flight).set_exception(error if isinstance(error, Exception) else _Abandoned())
            raise
        self._land(lane, flight).set_result(result)
        return result

    def _land(self, lane: tuple[object, Hashable], flight: _Flight) -> Future[Any]:
        """Take a flight off the board before it lands, so that nobody joins one that is over."""
        with self._lock:
            if self._flights.get(lane) is flight:
                del self._flights[lane]
        return flight.landed
