"""Running one system: filling its database, starting its workers, and measuring what they do."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import Server
from measuring import CACHE, percentile
from peers import System
from probe import Probe

HERE = Path(__file__).resolve().parent
LONGEST_START = 30.0


@dataclass
class Run:
    """What all parts share.

    Args:
        server: The PostgreSQL server; None where there is none.
        window: Seconds of processing that are measured at the most.
        rounds: How often each measurement is repeated.
        scale: Share of the jobs that a full run takes.
        full: Whether the tables of growth go to their ends.
        systems: Which systems are measured.
    """

    server: Server | None
    window: float
    rounds: int
    scale: float
    full: bool
    systems: Sequence[System]
    templates: set[str] = field(default_factory=set)

    def jobs(self, count: int) -> int:
        """Return how many jobs are used.

        Args:
            count: How many a full run uses.
        """
        return max(50, int(count * self.scale))

    def clear(self) -> None:
        """Remove the databases that were kept as templates."""
        while self.server is not None and self.templates:
            self.server.drop(self.templates.pop())


def environment(url: str, **more: str) -> dict[str, str]:
    """Return the environment of a system's process.

    Args:
        url: Its database.
        **more: Further variables.
    """
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "BENCH_URL": url, **more}


@contextmanager
def process(system: System, *command: str, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a process of a system for the block, in a session of its own, and stop all of it at the end.

    Args:
        system: The system.
        *command: What it shall do.
        env: Its environment.
    """
    with (CACHE / "bench.log").open("a") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "peers", system.module, *command],
            cwd=tempfile.gettempdir(),
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if "feed" in command[0] else log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        _stop(running)


def _stop(running: subprocess.Popen[str]) -> None:
    for number, patience in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(running.pid, number)
            running.wait(patience)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    for stream in (running.stdin, running.stdout):
        if stream is not None:
            stream.close()


def prepare(system: System, count: int, url: str, **more: str) -> None:
    """Make the tables of a system and fill them.

    Args:
        system: The system.
        count: Jobs, or workflows where BENCH_FLOW is among the variables.
        url: Its database.
        **more: Further variables.
    """
    command = [sys.executable, "-m", "peers", system.module, "prepare", str(count)]
    done = subprocess.run(
        command, env=environment(url, **more), cwd=tempfile.gettempdir(), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{system.name} could not be prepared:\n{done.stdout[-500:]}{done.stderr[-1500:]}")


def fresh(run: Run, system: System, count: int, **more: str) -> str:
    """Return the name of a new database of a system with that many jobs; filled once, copied after that.

    Args:
        run: The run.
        system: The system.
        count: As in :func:`prepare`.
        **more: Further variables.
    """
    assert run.server is not None
    name = f"bench_{system.module}{'_flow' if 'BENCH_FLOW' in more else ''}"
    template = f"{name}_{count}"
    if template not in run.templates:
        run.server.create(template)
        with run.server.hurried(template):
            prepare(system, count, run.server.url(template), **more)
        run.server.settle(template)
        run.templates.add(template)
    run.server.create(name, template)
    return name


def measure(run: Run, system: System, workers: int, count: int, **more: str) -> dict[str, float]:
    """Let workers process what is there, and return the rate and what the database did for an item.

    Args:
        run: The run.
        system: The system.
        workers: How many processes.
        count: As in :func:`prepare`.
        **more: Further variables.
    """
    if not system.database or run.server is None:
        prepare(system, count, "")
        return work_off(run, system, workers, count, environment("", **more))
    name = fresh(run, system, count, **more)
    server = run.server
    before = server.reset(name)
    statements = 0

    def look() -> None:
        nonlocal statements
        statements = server.statements(name)

    result = work_off(run, system, workers, count, environment(server.url(name), **more), look)
    time.sleep(0.2)  # sessions that were cut off report what they did as they end
    counted = server.since(name, before, statements)
    server.drop(name)
    return {**result, **counted.per(int(result["count"]))}


def work_off(
    run: Run, system: System, workers: int, count: int, env: Mapping[str, str], look: Any = lambda: None
) -> dict[str, float]:
    """Start workers, wait until all is done or the window is over, and stop them.

    Args:
        run: The run.
        system: The system.
        workers: How many processes.
        count: How many items there are.
        env: Their environment.
        look: Called when the last item was handled, before the workers are stopped.

    Returns:
        ``rate`` in items per second, from the first call of a handler to the last one, and ``count``.
    """
    with probing() as probe, ExitStack() as stack:
        env = {**env, "BENCH_PROBE": str(probe.path)}
        started = [stack.enter_context(process(system, "work", str(index), env=env)) for index in range(workers)]
        latest, since = time.monotonic() + LONGEST_START, 0.0
        while (done := probe.read()[0]) < count and time.monotonic() < latest:
            if done and not since:
                since = time.monotonic()
                latest = since + run.window
            if any(worker.poll() is not None for worker in started):
                raise RuntimeError(f"a worker of {system.name} ended: see bench.log in the cache")
            time.sleep(0.02)
        time.sleep(0.15 if done >= count else 0)  # what was handled last is completed now
        done, first, last = probe.read()
        look()
    if not done:
        raise RuntimeError(f"{system.name} handled nothing: see bench.log in the cache")
    return {"rate": (done - 1) / (last - first) if done > 1 else 0.0, "count": done}


@contextmanager
def probing() -> Iterator[Probe]:
    """Make a probe for the block."""
    descriptor, path = tempfile.mkstemp(prefix="bench-probe-")
    os.close(descriptor)
    probe = Probe(Path(path))
    try:
        yield probe
    finally:
        probe.close()


def pick_up(system: System, url: str, samples: int, *, together: bool = False, **more: str) -> dict[str, float]:
    """Put single jobs before an idle worker, and return how long it takes from the commit to the handler, in ms.

    Args:
        system: The system.
        url: Its database.
        samples: How many jobs.
        together: Whether they are put in by the process that works.
        **more: Further variables.
    """
    pause = random.Random(1)
    with probing() as probe:
        env = environment(url, BENCH_PROBE=str(probe.path), **more)
        with process(system, "work-and-feed" if together else "feed", env=env) as feeder:
            if together:
                waits = _sample(feeder, probe, samples, pause)
            else:
                with process(system, "work", "0", env=env):
                    waits = _sample(feeder, probe, samples, pause)
    return {"p50_ms": percentile(waits, 50), "p95_ms": percentile(waits, 95), "samples": len(waits)}


def _sample(feeder: subprocess.Popen[str], probe: Probe, samples: int, pause: random.Random) -> list[float]:
    assert feeder.stdin is not None
    assert feeder.stdout is not None
    waits = []
    for sample in range(samples + 2):  # the first ones find a worker that is starting
        time.sleep(0.1 + 0.3 * pause.random())
        feeder.stdin.write(f"{sample}\n")
        feeder.stdin.flush()
        committed = float(feeder.stdout.readline())
        latest = time.monotonic() + (LONGEST_START if sample == 0 else 10.0)
        while not (handled := probe.moment(sample)):
            if time.monotonic() > latest:
                raise RuntimeError("a job was not picked up")
            time.sleep(0.001)
        if sample > 1:
            waits.append((handled - committed) * 1000)
        elif sample == 0:
            time.sleep(1.0)
    return waits
