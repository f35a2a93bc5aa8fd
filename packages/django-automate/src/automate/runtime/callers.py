"""Where actions are called: in the thread of the caller, or in threads and on an event loop."""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections

from automate._late_entries import write_waiting
from automate.runtime.connections import tidy_connections
from automate.runtime.execute import Attempt, Result, execute, unexecuted
from automate.runtime.transactional import execute_transactional

__all__ = ["EventLoop", "ThreadPool", "call_here", "start_attempt"]

logger = logging.getLogger("automate.runtime")

_PATIENCE = 0.005
"""How long a task may wait for a thread before another thread is called in, in seconds."""


def start_attempt(attempt: Attempt) -> Result | Awaitable[Result]:
    """Execute an attempt in the calling thread.

    Args:
        attempt: The attempt.

    Returns:
        Its result, or what gives it when it is awaited, where the action is asynchronous. Nothing is raised.
    """
    try:
        return execute(attempt) if attempt.checkpoint is None else execute_transactional(attempt)
    except BaseException as failure:  # noqa: BLE001 - whatever it is, somebody waits for a result
        return _broken(attempt, failure)


def call_here(attempt: Attempt) -> Result:
    """Execute an attempt to its end in the calling thread, with its database connection and its transaction.

    A synchronous action cannot be interrupted here: that it took too long is noticed when it returns.

    Args:
        attempt: The attempt.
    """
    result = start_attempt(attempt)
    if isinstance(result, Result):
        return result
    return async_to_sync(_value_of)(attempt, result)


async def _value_of(attempt: Attempt, awaitable: Awaitable[Result]) -> Result:
    try:
        return await awaitable
    except BaseException as failure:  # noqa: BLE001 - as above
        return _broken(attempt, failure)


def _broken(attempt: Attempt, failure: BaseException) -> Result:
    logger.error("Step %r could not be executed.", attempt.step.id, exc_info=failure)
    return unexecuted(attempt, failure)


class ThreadPool:
    """Daemon threads that work off one queue; no more of them run than the tasks at hand need.

    Short tasks are done by few threads, as threads that share an interpreter only get into each other's way; long ones
    get a thread each, up to the size of the pool. A thread that hangs is never waited for. What goes on without a
    thread counts like a thread, so that no more goes on at once than the size says.

    Args:
        name: Prefix of the threads' names.
        size: How many tasks may run at once.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name, self.size = name, size
        self._tasks: deque[partial[None]] = deque()
        self._idle: deque[queue.SimpleQueue[bool]] = deque()
        self._lock = threading.Lock()
        self._threads = self._active = self._away = self.hung = 0
        self._closed = False
        self._done = self._done_before = 0
        self._looked_at = self._mean = 0.0

    def submit(self, task: partial[None]) -> None:
        """Queue a task; call :meth:`adjust` when all are queued.

        Args:
            task: Should not raise: what it raises is logged, and nobody else is told.
        """
        self._tasks.append(task)

    @property
    def backlog(self) -> int:
        """How many tasks wait for a thread."""
        return len(self._tasks)

    def adjust(self) -> None:
        """Call in as many threads as the waiting tasks need, by what tasks took lately."""
        waiting = len(self._tasks)
        if not waiting:
            return
        now = time.monotonic()
        wanted = max(1, math.ceil(waiting * self._mean / _PATIENCE))
        if now - self._looked_at >= _PATIENCE:
            if self._done == self._done_before:
                wanted = max(wanted, 2 * self._active)  # what runs takes long, whatever was before it
            self._done_before, self._looked_at = self._done, now
        self._call_in(min(wanted, self._active + waiting, self.size + self.hung - self._away))

    def _call_in(self, wanted: int) -> None:
        with self._lock:
            while self._active < wanted and not self._closed:
                self._active += 1
                if self._idle:
                    self._idle.pop().put(True)
                    continue
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        inbox: queue.SimpleQueue[bool] = queue.SimpleQueue()
        while True:
            while not (self._away and self._is_crowded()):
                try:
                    task = self._tasks.popleft()
                except IndexError:
                    break
                began = time.monotonic()
                try:
                    task()
                    write_waiting()
                except BaseException as error:
                    logger.error("A task failed.", exc_info=error)
                self._mean += 0.1 * (time.monotonic() - began - self._mean)
                self._done += 1
                tidy_connections()
            with self._lock:
                if self._tasks and not self._is_crowded():
                    continue  # it came this moment, and nobody else was called in for it
                self._active -= 1
                if self._closed:
                    break
                self._idle.append(inbox)
            if not inbox.get():
                break
        connections.close_all()

    def _is_crowded(self) -> bool:
        """Whether a thread has to stop for what goes on without one."""
        return self._active + self._away > self.size + self.hung

    def send_away(self) -> None:
        """Note that what the calling thread began goes on without it."""
        with self._lock:
            self._away += 1

    def take_back(self) -> None:
        """Note that something which went on without a thread has ended; the next :meth:`adjust` fills its place."""
        with self._lock:
            self._away -= 1

    def drop_waiting(self) -> list[partial[None]]:
        """Take back the tasks that no thread has begun.

        Returns:
            The tasks.
        """
        dropped = []
        while True:
            try:
                dropped.append(self._tasks.popleft())
            except IndexError:
                return dropped

    def give_up_on_one(self, change: int = 1) -> None:
        """Note that a thread hangs in a task that nobody waits for; another one may take its place.

        Args:
            change: -1 when it came back after all.
        """
        with self._lock:
            self.hung += change

    def close(self) -> None:
        """Drop the waiting tasks; end the idle threads, and the others when their tasks end."""
        self.drop_waiting()
        with self._lock:
            self._closed = True
            idle, self._idle = list(self._idle), deque()
        for inbox in idle:
            inbox.put(False)


class EventLoop:
    """The one event loop of a worker, in a thread of its own, started when the first asynchronous action comes."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._tidying: set[asyncio.Future[None]] = set()

    def start(self, attempt: Attempt, awaitable: Awaitable[Result], done: Callable[[Result], None]) -> None:
        """Run an awaitable; no thread waits for it.

        Args:
            attempt: The attempt.
            awaitable: What :func:`start_attempt` returned for an asynchronous action.
            done: Called with its result, in the loop's thread.
        """
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._serve, args=(self._loop,), name="automate-loop", daemon=True).start()
            loop = self._loop
        asyncio.run_coroutine_threadsafe(self._run(attempt, awaitable, done), loop)

    async def _run(self, attempt: Attempt, awaitable: Awaitable[Result], done: Callable[[Result], None]) -> None:
        try:
            done(await _value_of(attempt, awaitable))
        finally:
            self._tidy()

    def _tidy(self) -> None:
        """Look after the one thread through which asynchronous code reaches the database; nobody waits for it."""
        if not self._tidying:
            task = asyncio.ensure_future(sync_to_async(tidy_connections)())
            self._tidying.add(task)
            task.add_done_callback(self._tidying.discard)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            try:
                loop.run_forever()
                break
            except BaseException as error:
                logger.error("Asynchronous code tried to end the event loop.", exc_info=error)
        loop.run_until_complete(_wind_up())
        loop.close()

    def close(self) -> None:
        """Stop the loop, and cancel what runs in it."""
        with self._lock:
            if self._loop is not None:
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._loop.stop)
                self._loop = None


async def _wind_up() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await sync_to_async(connections.close_all)()
