"""Where the engine has actions and handlers called."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from automate_core.outbox import OutboxItem

from automate.runtime.callers import EventLoop, ThreadPool, call_here, start_attempt
from automate.runtime.execute import Attempt, Result

__all__ = ["InlineLauncher", "Launcher", "ThreadLauncher"]


class Launcher(Protocol):
    """Calls actions and handlers."""

    def launch(self, attempt: Attempt, done: Callable[[Result], None]) -> None:
        """Have an attempt executed.

        Args:
            attempt: The attempt.
            done: Called with its result, in any thread.
        """
        ...

    def call(self, item: OutboxItem, handle: Callable[[OutboxItem], None]) -> None:
        """Have an item handled.

        Args:
            item: The item.
            handle: Handles it; does not raise.
        """
        ...

    def adjust(self) -> bool:
        """See to it that what waits finds a thread; call it now and then.

        Returns:
            Whether something still waits.
        """
        ...

    @property
    def waiting(self) -> int:
        """How many wait for a thread."""
        ...

    def give_up(self) -> None:
        """Note that nobody waits any more for one that hangs."""
        ...

    def came_back(self) -> None:
        """Note that one that was given up has ended after all."""
        ...

    @property
    def is_stuck(self) -> bool:
        """Whether so many hang that this process should be replaced."""
        ...

    def drop_waiting(self) -> list[Any]:
        """Drop what has not begun.

        Returns:
            The attempts and items that were dropped.
        """
        ...

    def close(self) -> None:
        """Take nothing more."""
        ...


class InlineLauncher:
    """Calls everything here and now, in the engine's thread."""

    is_stuck = False
    waiting = 0

    def launch(self, attempt: Attempt, done: Callable[[Result], None]) -> None:
        """Execute an attempt to its end.

        Args:
            attempt: The attempt.
            done: Called with its result.
        """
        done(call_here(attempt))

    def call(self, item: OutboxItem, handle: Callable[[OutboxItem], None]) -> None:
        """Handle an item.

        Args:
            item: The item.
            handle: Handles it.
        """
        handle(item)

    def adjust(self) -> bool:
        """Do nothing: nothing waits."""
        return False

    def give_up(self) -> None:
        """Do nothing: what hangs here hangs the engine too."""

    def came_back(self) -> None:
        """Do nothing."""

    def drop_waiting(self) -> list[Any]:
        """Drop nothing: everything has been called."""
        return []

    def close(self) -> None:
        """Do nothing."""


class ThreadLauncher:
    """Calls synchronous code in threads, and asynchronous actions on one event loop.

    Args:
        size: How many attempts and items go on at once, those that wait in the event loop included.
    """

    def __init__(self, size: int) -> None:
        self._pool, self._loop = ThreadPool("automate-action", size), EventLoop()

    def launch(self, attempt: Attempt, done: Callable[[Result], None]) -> None:
        """Have an attempt executed by a thread.

        Args:
            attempt: The attempt.
            done: Called with its result, in that thread or that of the loop.
        """
        self._pool.submit(partial(self._execute, attempt, done))

    def _execute(self, attempt: Attempt, done: Callable[[Result], None]) -> None:
        result = start_attempt(attempt)
        if isinstance(result, Result):
            done(result)
        else:
            self._pool.send_away()
            self._loop.start(attempt, result, partial(self._take_back, done))

    def _take_back(self, done: Callable[[Result], None], result: Result) -> None:
        self._pool.take_back()
        done(result)

    def call(self, item: OutboxItem, handle: Callable[[OutboxItem], None]) -> None:
        """Have an item handled by a thread.

        Args:
            item: The item.
            handle: Handles it.
        """
        self._pool.submit(partial(_handle, item, handle))

    def adjust(self) -> bool:
        """Call in as many threads as what waits needs.

        Returns:
            Whether something still waits.
        """
        self._pool.adjust()
        return self.waiting > 0

    @property
    def waiting(self) -> int:
        """How many wait for a thread."""
        return self._pool.backlog

    def give_up(self) -> None:
        """Let another thread take the place of one that hangs."""
        self._pool.give_up_on_one()

    def came_back(self) -> None:
        """Note that one that hung has ended after all."""
        self._pool.give_up_on_one(-1)

    @property
    def is_stuck(self) -> bool:
        """Whether as many threads hang as there should be in all."""
        return self._pool.hung >= self._pool.size

    def drop_waiting(self) -> list[Any]:
        """Drop what no thread has begun.

        Returns:
            The attempts and items that were dropped.
        """
        return [task.args[0] for task in self._pool.drop_waiting()]

    def close(self) -> None:
        """End the threads and the loop; what hangs in them is not waited for."""
        self._pool.close()
        self._loop.close()


def _handle(item: OutboxItem, handle: Callable[[OutboxItem], None]) -> None:
    handle(item)
