"""Many jobs, many faults at once: a plan that a seed makes, the run of it, and the figures that come of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from signal import SIGCONT, SIGSTOP
from typing import Any

from faults.cluster import Cluster
from faults.figures import Death
from faults.proxy import Proxy
from faults.site import LEASE, POLL, Process, Site

__all__ = ["SIZES", "Fault", "Record", "Size", "Storm", "make_plan"]

POISON_FROM = 10_000_000
"""The numbers of the poisonous events begin here."""
STEP = 0.02
"""Seconds that a step with an external effect takes."""
STEADY = 2.5
"""Seconds that a worker has run before it is hurt: one that only starts holds nothing."""
DISABLING = frozenset({"kill", "kill child", "stop"})
"""The faults after which a worker does nothing for a while, neither its own work nor that of the dead."""
APART = 0.25
"""Seconds between two faults at the least."""
REFUSALS = 20
"""Workers that end with an error by themselves, one after the other, before the storm has failed."""
STALLED = 180.0
"""Seconds without anything done after which the storm has failed."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything.

    Args:
        jobs: Events that each start a run of one to three steps.
        rate: Events emitted per second, so that the faults meet work under way.
        kills: Workers that are killed.
        stops: Workers that are frozen for one and a half leases.
        cuts: Connections that are cut, half of them while the answer to a COMMIT is awaited.
        restarts: Restarts of the server, in turns fast and immediate.
        workers: Workers at once.
        poison: Events whose run ends its worker.
    """

    jobs: int
    rate: int
    kills: int
    stops: int
    cuts: int = 0
    restarts: int = 0
    workers: int = 4
    poison: int = 2


SIZES = {
    ("postgres", True): Size(100_000, 150, kills=200, stops=50, cuts=50, restarts=10, workers=5, poison=5),
    ("sqlite", True): Size(2_000, 40, kills=14, stops=6),
    ("mariadb", True): Size(2_000, 40, kills=10, stops=5, cuts=5),
    ("postgres", False): Size(3_000, 100, kills=8, stops=3, cuts=4, restarts=2),
    ("sqlite", False): Size(600, 30, kills=5, stops=2),
    ("mariadb", False): Size(600, 30, kills=4, stops=2, cuts=3),
}
"""By database, and whether it is the full size."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plan.

    Args:
        after: Effects outside of the database that have been had when it strikes.
        kind: ``kill`` is all of a worker, ``kill child`` the process that works, which its supervisor replaces;
            ``stop``, ``cut``, ``lose answer`` and ``restart``.
        victim: Which worker; of a restart, 0 for fast and 1 for immediate.
        seconds: How long the server is down.
    """

    after: int
    kind: str
    victim: int
    seconds: float = 0.0


def make_plan(size: Size, seed: int) -> list[Fault]:
    """Return the faults in their order; the same seed makes the same plan.

    Args:
        size: How many of each.
        seed: The seed.
    """
    source = random.Random(seed)
    effects = size.jobs * 4 // 3  # workflows one, two and three have four between them
    kinds = ["kill"] * (size.kills - size.kills // 3) + ["kill child"] * (size.kills // 3)
    kinds += ["stop"] * size.stops + ["restart"] * size.restarts
    kinds += ["cut", "lose answer"] * (size.cuts // 2) + ["cut"] * (size.cuts % 2)
    source.shuffle(kinds)
    moments = sorted(source.randrange(effects // 50, effects * 9 // 10) for _ in kinds)
    return [
        Fault(moment, kind, source.randrange(1_000), round(source.uniform(0, 5), 2) if kind == "restart" else 0.0)
        for moment, kind in zip(moments, kinds, strict=True)
    ]


@dataclass(slots=True)
class Record:
    """What happened in a storm.

    Args:
        deaths: The workers that were killed.
        outages: When the server was away: from, to.
        done: The faults that struck, and when.
        seconds: How long all of it took.
        terms: Seconds from SIGTERM to the end, of each idle worker.
    """

    deaths: list[Death] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    done: list[tuple[float, Fault]] = field(default_factory=list)
    seconds: float = 0.0
    terms: list[float] = field(default_factory=list)


class Storm:
    """Runs one plan over one site.

    Args:
        site: The site.
        size: How much of everything.
        seed: The seed of the plan.
        cluster: The server that is restarted, where one is.
        new_proxy: Makes the proxy of one worker, where connections are cut.
        say: Told what happens.
    """

    def __init__(
        self,
        site: Site,
        size: Size,
        seed: int,
        *,
        cluster: Cluster | None = None,
        new_proxy: Callable[[], Proxy] | None = None,
        say: Callable[[str], object] = print,
    ) -> None:
        self._site, self._size, self._seed, self._cluster, self._say = site, size, seed, cluster, say
        self._proxies = [new_proxy() if new_proxy else None for _ in range(size.workers)]
        self._workers: list[Process] = []
        self._started: dict[int, float] = {}
        self._frozen: dict[int, float] = {}
        self._last_strike = 0.0
        self._refused = 0
        self._began = time.monotonic()
        self.record = Record()

    def run(self) -> Record:
        """Do all of it, and return when every job is done.

        Raises:
            AssertionError: If nothing goes on any more; it names the seed.
        """
        plan = make_plan(self._size, self._seed)
        emitters = list(self._emitters())
        self._workers = [self._start(index) for index in range(self._size.workers)]
        progress = _Progress(self._site)
        while plan or emitters or self._frozen or self._site.live():
            count = progress.look()
            if progress.idle > STALLED:
                raise AssertionError(f"nothing went on for {STALLED:g} s; seed {self._seed}, {count} effects")
            # Where the work is done before the plan is, what is left of it strikes all the same.
            due = plan and (plan[0].after <= count or (not emitters and progress.idle > 2 * LEASE))
            if due and self._strike(plan[0]):
                plan.pop(0)
            self._tend()
            emitters = [again for emitter in emitters if (again := self._emitting(emitter)) is not None]
            time.sleep(0.05)
        self.record.seconds = time.monotonic() - self._began
        self._end()
        return self.record

    # -- processes --------------------------------------------------------------------------------------------------

    def _emitters(self) -> Iterator[Process]:
        half = self._size.jobs // 2
        plan: dict[str, Any] = {
            "batch": 20,
            "rollback_every": 25,
            "rate": self._size.rate / 2,
            "payload": {"seconds": STEP},
        }
        yield self._site.emitter(half, **plan)
        yield self._site.emitter(self._size.jobs - half, first=half, **plan)
        yield self._site.emitter(
            self._size.poison, "faults.poison", first=POISON_FROM, batch=1, payload={"how": "exit"}
        )

    def _emitting(self, emitter: Process) -> Process | None:
        if emitter.alive():
            return emitter
        status = emitter.wait()
        assert status == 0, f"an emitter ended with {status}; seed {self._seed}\n{emitter.log.read_text()[-2000:]}"
        return None

    def _start(self, index: int) -> Process:
        proxy = self._proxies[index]
        self._started[index] = time.monotonic()
        arguments = ("--concurrency", "4", "--worker-id", f"storm-{index}", "--poll", str(POLL))
        return self._site.worker(*arguments, port=proxy.port if proxy else None)

    def _tend(self) -> None:
        """Replace workers that died, as a service manager does, and thaw those that were frozen long enough."""
        for index, since in list(self._frozen.items()):
            if time.monotonic() - since > 1.5 * LEASE:
                del self._frozen[index]
                self._workers[index].send(SIGCONT)
        for index, worker in enumerate(self._workers):
            if not worker.alive():
                self._refused = self._refused + 1 if worker.wait() > 0 else 0
                if self._refused > REFUSALS:
                    raise AssertionError(
                        f"workers end by themselves; seed {self._seed}\n{worker.log.read_text()[-2000:]}"
                    )
                self._workers[index] = self._start(index)

    def _end(self) -> None:
        time.sleep(2 * STEADY)  # one that only starts has not said yet what SIGTERM means to it
        for worker in self._workers:
            began = time.monotonic()
            worker.terminate()
            status = worker.wait()
            self.record.terms.append(time.monotonic() - began)
            assert status == 0, f"a worker ended with {status}; seed {self._seed}"

    # -- faults -----------------------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> bool:
        """Do it, or say that nobody is there to be hurt right now: the last one that is alive and well is spared."""
        now = time.monotonic()
        if now - self._last_strike < APART:
            return False
        able = self._able()
        if len(able) <= (fault.kind in DISABLING) and fault.kind != "restart":
            return False
        index = able[fault.victim % len(able)] if able else None
        self._last_strike = now
        self._say(f"{now - self._began:8.2f} s  {fault}")
        self.record.done.append((now - self._began, fault))
        if index is None or fault.kind == "restart":
            self._restart("fast" if fault.victim % 2 == 0 else "immediate", fault.seconds)
        else:
            self._hurt(fault.kind, index)
        return True

    def _hurt(self, kind: str, index: int) -> None:
        worker, proxy = self._workers[index], self._proxies[index]
        if kind in ("kill", "kill child"):
            at = time.time()
            killed = worker.kill() if kind == "kill" else worker.kill_last()
            self.record.deaths.append(Death(at, tuple(killed)))
        elif kind == "stop":
            worker.send(SIGSTOP)
            self._frozen[index] = time.monotonic()
        elif proxy is not None and kind == "cut":
            proxy.cut()
        elif proxy is not None:
            proxy.lose_answer(rb"COMMIT")

    def _able(self) -> list[int]:
        """Return the workers that are awake and at work."""
        steady = time.monotonic() - STEADY
        return [
            index
            for index, worker in enumerate(self._workers)
            if index not in self._frozen and self._started[index] < steady and worker.ready()
        ]

    def _restart(self, mode: str, seconds: float) -> None:
        assert self._cluster is not None, "this plan restarts a server"
        since = time.time()
        self._cluster.stop(mode)
        time.sleep(seconds)
        self._cluster.start()
        self.record.outages.append((since, time.time()))


class _Progress:
    """Counts the lines of the effects' file without reading it again and again."""

    def __init__(self, site: Site) -> None:
        self._site, self._offset, self._count, self._since = site, 0, 0, time.monotonic()

    def look(self) -> int:
        """Return how many effects there are."""
        if self._site.effects.exists():
            with self._site.effects.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
            if data:
                self._offset += len(data)
                self._count += data.count(b"\n")
                self._since = time.monotonic()
        return self._count

    @property
    def idle(self) -> float:
        """Seconds since there was one more."""
        return time.monotonic() - self._since
