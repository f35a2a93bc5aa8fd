"""Where actions are called: in the thread of the caller, or in threads whose results can be given up."""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections

from automate.runtime.connections import tidy_connections
from automate.runtime.execute import Attempt, Result, execute, timed_out

__all__ = ["Caller", "EventLoop", "InlineCaller", "ThreadCaller", "ThreadPool"]


class Caller(Protocol):
    """Calls the actions of one run."""

    def start(self, attempt: Attempt) -> None:
        """Begin an attempt.

        Args:
            attempt: The attempt.
        """
        ...

    def wait(self, seconds: float) -> list[Result]:
        """Wait for results.

        Args:
            seconds: How long at the most.

        Returns:
            The results that came, at least one where any came in time; an attempt past its deadline comes back as a
            timeout.
        """
        ...

    def cancel(self) -> None:
        """Tell every action under way that nobody waits for it any more."""
        ...


def _begin(attempt: Attempt) -> Attempt:
    return replace(attempt, deadline=time.monotonic() + attempt.timeout)


class InlineCaller:
    """Calls actions one after another in the calling thread, with its database connection and its transaction.

    A synchronous action cannot be interrupted here: that it took too long is noticed when it returns.
    """

    def __init__(self) -> None:
        self._results: list[Result] = []

    def start(self, attempt: Attempt) -> None:
        """Execute the attempt at once.

        Args:
            attempt: The attempt.
        """
        attempt = _begin(attempt)

        def call(value: Any) -> Any:
            if not inspect.isawaitable(value):
                return value
            return async_to_sync(_within)(value, attempt.deadline - time.monotonic())

        self._results.append(execute(attempt, call))

    def wait(self, seconds: float) -> list[Result]:
        """Return the results so far.

        Args:
            seconds: Not used: nothing is under way.
        """
        results, self._results = self._results, []
        return results

    def cancel(self) -> None:
        """Do nothing: no action is under way."""


async def _within(awaitable: Any, seconds: float) -> Any:
    return await asyncio.wait_for(awaitable, max(seconds, 0.0))


class ThreadPool:
    """Daemon threads that are kept for the next call; a thread that hangs is never waited for.

    Args:
        name: Prefix of the threads' names.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: deque[queue.SimpleQueue[Callable[[], None] | None]] = deque()
        self._lock = threading.Lock()
        self._count = 0
        self._closed = False

    def submit(self, task: Callable[[], None]) -> None:
        """Run a task in an idle thread, or in a new one.

        Args:
            task: Must not raise.
        """
        with self._lock:
            if self._idle:
                inbox = self._idle.pop()
            else:
                inbox = queue.SimpleQueue()
                self._count += 1
                threading.Thread(
                    target=self._serve, args=(inbox,), name=f"{self._name}-{self._count}", daemon=True
                ).start()
        inbox.put(task)

    def _serve(self, inbox: queue.SimpleQueue[Callable[[], None] | None]) -> None:
        while (task := inbox.get()) is not None:
            task()
            tidy_connections()
            with self._lock:
                if self._closed:
                    break
                self._idle.append(inbox)
        connections.close_all()

    def close(self) -> None:
        """End the idle threads, and the others when their tasks end."""
        with self._lock:
            self._closed = True
            idle, self._idle = list(self._idle), deque()
        for inbox in idle:
            inbox.put(None)


class EventLoop:
    """The one event loop of a worker, in a thread of its own, started when the first asynchronous action comes."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._tidying: set[asyncio.Future[None]] = set()

    def call(self, awaitable: Any, seconds: float) -> Any:
        """Wait for an awaitable, and cancel it when time is up.

        Args:
            awaitable: What an asynchronous action returned.
            seconds: How long it may take.

        Returns:
            Its result.
        """
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._serve, args=(self._loop,), name="automate-loop", daemon=True).start()
            loop = self._loop
        try:
            return asyncio.run_coroutine_threadsafe(_within(awaitable, seconds), loop).result()
        finally:
            with suppress(RuntimeError):  # it was closed meanwhile
                loop.call_soon_threadsafe(self._tidy)

    def _tidy(self) -> None:
        """Look after the one thread through which asynchronous code reaches the database; nobody waits for it."""
        task = asyncio.ensure_future(sync_to_async(tidy_connections)())
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        loop.run_until_complete(_wind_up())
        loop.close()

    def close(self) -> None:
        """Stop the loop, and cancel what runs in it."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._loop = None


async def _wind_up() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await sync_to_async(connections.close_all)()


class ThreadCaller:
    """Calls the actions of one run in threads, side by side; an attempt past its deadline is given up.

    Args:
        pool: The threads of the worker.
        loop: The event loop of the worker.
    """

    def __init__(self, pool: ThreadPool, loop: EventLoop) -> None:
        self._pool, self._loop = pool, loop
        self._done: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._running: dict[str, tuple[Attempt, Any]] = {}

    def start(self, attempt: Attempt) -> None:
        """Begin the attempt in a thread.

        Args:
            attempt: The attempt.
        """
        attempt = _begin(attempt)
        self._running[attempt.step.id] = (attempt, attempt.clock())

        def call(value: Any) -> Any:
            if not inspect.isawaitable(value):
                return value
            return self._loop.call(value, attempt.deadline - time.monotonic())

        self._pool.submit(lambda: self._done.put(execute(attempt, call)))

    def wait(self, seconds: float) -> list[Result]:
        """Wait for a result, or for the first deadline.

        Args:
            seconds: How long at the most.

        Returns:
            What came; empty where nothing did in time.
        """
        first_deadline = min((attempt.deadline for attempt, _ in self._running.values()), default=0.0)
        try:
            result = self._done.get(timeout=max(0.0, min(seconds, first_deadline - time.monotonic())))
        except queue.Empty:
            return self._give_up()
        known = self._running.get(result.attempt.step.id)
        if known is None or known[0] is not result.attempt:
            return []  # the late result of an attempt that was given up
        del self._running[result.attempt.step.id]
        return [result]

    def _give_up(self) -> list[Result]:
        now = time.monotonic()
        late = [entry for entry in self._running.values() if entry[0].deadline <= now]
        for attempt, _ in late:
            del self._running[attempt.step.id]
        return [timed_out(attempt, started_at) for attempt, started_at in late]

    def cancel(self) -> None:
        """Tell every action under way that nobody waits for it any more."""
        for attempt, _ in self._running.values():
            attempt.cancelled.set()
