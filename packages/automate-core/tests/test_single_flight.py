"""One call in the place of many."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from automate_core.single_flight import SingleFlight

SOON = 60


class Watched(SingleFlight):
    """Knows how many wait."""

    waiting = 0

    def _join(self, *arguments: Any) -> Any:
        flight, mine = super()._join(*arguments)
        self.waiting += not mine
        return flight, mine

    def wait_for(self, number: int) -> None:
        until = time.monotonic() + SOON
        while self.waiting < number:
            assert time.monotonic() < until, f"{self.waiting} of {number} wait"
            time.sleep(0.001)


class Work:
    """Goes on when it is let."""

    def __init__(self, result: object = "done") -> None:
        self.result = result
        self.times = 0
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> object:
        self.times += 1
        self.begun.set()
        assert self.go.wait(SOON)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def test_threads_share_one_call_and_another_key_is_another_call() -> None:
    flights, work = Watched(), Work()
    with ThreadPoolExecutor(9) as pool:
        results = [pool.submit(flights.run, "key", work) for _ in range(8)]
        flights.wait_for(7)
        assert pool.submit(flights.run, "other", lambda: "other").result(SOON) == "other"
        work.go.set()
        assert [result.result(SOON) for result in results] == ["done"] * 8
    assert work.times == 1
    assert flights.run("key", lambda: "a later call works anew") == "a later call works anew"


def test_threads_share_an_exception() -> None:
    flights, work = Watched(), Work(OSError("broken"))
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(flights.run, "key", work) for _ in range(4)]
        flights.wait_for(3)
        work.go.set()
        assert {str(result.exception(SOON)) for result in results} == {"broken"}
    assert work.times == 1


def test_whoever_waits_for_an_interrupted_thread_does_the_work() -> None:
    flights, interrupted = Watched(), Work(SystemExit("the thread ends"))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flights.run, "key", interrupted)
        assert interrupted.begun.wait(SOON)
        second = pool.submit(flights.run, "key", lambda: "done by another")
        flights.wait_for(1)
        interrupted.go.set()
        assert second.result(SOON) == "done by another"
        assert isinstance(first.exception(SOON), SystemExit)


def test_work_that_comes_back_with_its_own_key_does_not_wait_for_itself() -> None:
    flights = SingleFlight()
    assert flights.run("key", lambda: flights.run("key", lambda: "inner")) == "inner"

    async def inner() -> str:
        return "inner"

    async def outer() -> str:
        return await flights.arun("key", inner)

    assert asyncio.run(flights.arun("key", outer)) == "inner"
    assert flights.run("key", lambda: asyncio.run(flights.arun("key", inner))) == "inner"


def test_a_forgotten_flight_is_not_joined() -> None:
    flights, old = Watched(), Work("old")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(flights.run, "key", old)
        assert old.begun.wait(SOON)
        flights.forget(lambda key: key == "other")
        flights.forget(lambda key: key == "key")
        assert flights.run("key", lambda: "new") == "new"
        old.go.set()
        assert first.result(SOON) == "old"


# -- tasks ------------------------------------------------------------------------------------------------------------


def counted(calls: list[int], gate: asyncio.Event) -> Callable[[], Awaitable[str]]:
    async def work() -> str:
        calls.append(1)
        await gate.wait()
        return "done"

    return work


def test_tasks_share_one_call() -> None:
    async def main() -> None:
        flights, calls, gate = SingleFlight(), list[int](), asyncio.Event()
        tasks = [asyncio.create_task(flights.arun("key", counted(calls, gate))) for _ in range(5)]
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*tasks) == ["done"] * 5
        assert calls == [1]

    asyncio.run(main())


def test_a_task_waits_for_a_thread() -> None:
    flights, work = Watched(), Work()

    async def never() -> object:
        raise AssertionError("the thread does it")

    async def main() -> object:
        task = asyncio.create_task(flights.arun("key", never))
        await asyncio.to_thread(flights.wait_for, 1)
        work.go.set()
        return await task

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(flights.run, "key", work)
        assert work.begun.wait(SOON)
        assert asyncio.run(main()) == first.result(SOON) == "done"


def test_a_thread_does_not_wait_for_a_task() -> None:
    async def main() -> None:
        flights, calls, gate = SingleFlight(), list[int](), asyncio.Event()
        task = asyncio.create_task(flights.arun("key", counted(calls, gate)))
        await asyncio.sleep(0)
        assert flights.run("key", lambda: "at once, though on the thread of the loop") == (
            "at once, though on the thread of the loop"
        )
        gate.set()
        assert await task == "done"

    asyncio.run(main())


@pytest.mark.parametrize("cancelled", [0, 1])
def test_a_cancelled_task_takes_nobody_along(cancelled: int) -> None:
    async def main() -> None:
        flights, calls, gate = SingleFlight(), list[int](), asyncio.Event()
        tasks = [asyncio.create_task(flights.arun("key", counted(calls, gate))) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[cancelled].cancel()
        while len(calls) < 2 - cancelled:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results.pop(cancelled), asyncio.CancelledError)
        assert results == ["done"] * 2
        assert calls == [1] * (2 - cancelled)

    asyncio.run(main())
