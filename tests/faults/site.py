"""A project under test: a database with its history, emitters, workers that can be hurt, and the verdict."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from faults.checker import Facts, Violation, check
from faults.databases import Database, next_name
from faults.history import read_facts
from faults.triggers import statements

__all__ = ["LEASE", "REAPER", "Process", "Site", "prepared", "wait_for"]

LEASE, REAPER, POLL = 2.0, 0.5, 0.1
"""Seconds: short, so that what a lease brings back comes back while the test waits."""

TESTS = Path(__file__).resolve().parents[1]
PATIENCE = 120.0
"""Seconds after which something that must happen is said not to happen: generous, as machines are shared."""

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Wait until a condition is true, and return what it returned.

    Args:
        condition: Asked again and again.
        what: What is waited for, for the failure.
        seconds: How long at the most.

    Raises:
        AssertionError: If it does not become true.
    """
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"this did not happen within {seconds:g} s: {what}")
        time.sleep(0.02)
    return result


class Process:
    """A process under test and its children, wherever the product has its work done.

    Args:
        command: Its command line.
        environment: Its environment.
        log: The file that both its outputs go to.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.pid = self._popen.pid

    def members(self) -> list[int]:
        """Return the process and its descendants that are alive, parents first."""
        return _descendants(self.pid) if self.alive() else []

    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen.poll() is None

    def ready(self, *, alone: bool = False) -> bool:
        """Whether it works: a supervisor and its child, and both have said what SIGTERM means to them.

        Args:
            alone: Whether it has no supervisor.
        """
        members = self.members()
        return len(members) > (not alone) and all(_catches_sigterm(pid) for pid in members)

    def send(self, number: int) -> list[int]:
        """Send a signal to all of its processes, and return them."""
        members = self.members()
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return members

    def kill(self) -> list[int]:
        """Kill all of its processes at once, and return them."""
        self.send(signal.SIGSTOP)  # or a child could be replaced, or notice, in between
        killed = self.send(signal.SIGKILL)
        self._popen.wait()
        return killed

    def kill_last(self) -> list[int]:
        """Kill the youngest of its processes, the one that works, and return it."""
        last = self.members()[-1:]
        for pid in last:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return last

    def terminate(self) -> None:
        """Ask it to end, as an operator does."""
        self._popen.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end, and return its exit status."""
        return self._popen.wait(seconds)


def _catches_sigterm(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *itertools.chain.from_iterable(_descendants(int(child)) for child in children)]


class Site:
    """One project on one database.

    Args:
        database: The database, prepared.
        folder: For the files of this site.
        automate: ``DJANGO_AUTOMATE``, over the short times of the tests.
    """

    def __init__(self, database: Database, folder: Path, **automate: Any) -> None:
        self.database, self.folder = database, folder
        self.emitted, self.effects, self.crashed = folder / "emitted", folder / "effects", folder / "crashed"
        self.planted = folder / "planted"
        self.automate = {
            "EXECUTION": {"retry_initial_seconds": 0.05, **automate.pop("EXECUTION", {})},
            "OUTBOX": {"reaper_interval_seconds": REAPER, **automate.pop("OUTBOX", {})},
            **automate,
        }
        self.processes: list[Process] = []
        self._names = itertools.count(1)

    # -- processes --------------------------------------------------------------------------------------------------

    def environment(self, port: int | None = None, **extra: str) -> dict[str, str]:
        """Return the environment of a process of this site.

        Args:
            port: The port of a proxy in front of the database.
            **extra: Further variables.
        """
        config = self.database.config if port is None else {**self.database.config, "PORT": str(port)}
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)]),
            # A project that is installed has its bytecode, and starts in half the time.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),
            "DJANGO_SETTINGS_MODULE": "faults.settings",
            "FAULTS_SITE": json.dumps({"database": config, "automate": self.automate}),
            "FAULTS_EFFECTS": str(self.effects),
            "FAULTS_EMITTED": str(self.emitted),
            "FAULTS_CRASHED": str(self.crashed),
            "FAULTS_PLANTED": str(self.planted),
            **extra,
        }

    def start(self, *arguments: str, port: int | None = None, **extra: str) -> Process:
        """Start a Python process of this site.

        Args:
            *arguments: Of the interpreter.
            port: The port of a proxy in front of the database.
            **extra: Further variables of its environment.
        """
        log = self.folder / f"process-{next(self._names)}.log"
        process = Process([sys.executable, *arguments], self.environment(port, **extra), log)
        self.processes.append(process)
        return process

    def worker(self, *arguments: str, port: int | None = None, **extra: str) -> Process:
        """Start ``automate_worker`` with short times.

        Args:
            *arguments: Further options; they win.
            port: The port of a proxy in front of the database.
            **extra: Further variables of its environment.
        """
        times = ("--lease", str(LEASE), "--poll", str(POLL), "--grace", "10")
        return self.start("-m", "django", "automate_worker", *times, *arguments, port=port, **extra)

    def emitter(self, count: int, *types: str, port: int | None = None, **plan: Any) -> Process:
        """Start an emitter.

        Args:
            count: How many events.
            *types: Their types, in turns; ``faults.one``, ``two`` and ``three`` unless given.
            port: The port of a proxy in front of the database.
            **plan: Further parts of its plan, and variables of its environment in capitals.
        """
        variables = {name: plan.pop(name) for name in list(plan) if name.isupper()}
        names = list(types) or ["faults.one", "faults.two", "faults.three"]
        text = json.dumps({"count": count, "types": names, **plan})
        return self.start("-m", "faults.emitter", text, port=port, **variables)

    def emit(self, count: int, *types: str, **plan: Any) -> None:
        """Emit some events, and return when they are committed."""
        status = self.emitter(count, *types, **plan).wait()
        assert status == 0, self.logs()

    def close(self) -> None:
        """End every process that is left."""
        for process in self.processes:
            process.kill()

    def logs(self) -> str:
        """Return the ends of the processes' outputs."""
        texts = [(process.log.name, process.log.read_text(errors="replace")) for process in self.processes]
        return "\n".join(f"--- {name}\n{_shortened(text)}" for name, text in texts if text)

    # -- the outcome ------------------------------------------------------------------------------------------------

    def counted(self) -> int:
        """Return how many effects were had outside of the database."""
        return len(self.effects.read_bytes().splitlines()) if self.effects.exists() else 0

    def last_effect_by(self) -> int:
        """Return the process that had the latest effect outside of the database."""
        return int(self.effects.read_text().split()[-1])

    def live(self) -> int:
        """Return how many jobs are not done."""
        statement = "SELECT count(*) FROM automate_outbox_job WHERE status IN ('PENDING', 'RETRY', 'CLAIMED')"
        return int(self.database.query(statement)[0][0])

    def drained(self, seconds: float = PATIENCE) -> None:
        """Wait until no job is left."""
        with self.explained():
            wait_for(lambda: self.live() == 0, "every job is done", seconds)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Add the outputs of the processes to a failure."""
        try:
            yield
        except AssertionError as error:
            error.add_note(self.logs())
            raise

    def facts(self, **given: Any) -> Facts:
        """Read what was recorded."""
        crashes = self.automate["OUTBOX"].get("max_crashes", 3)
        return read_facts(self.database, self.emitted, self.effects, **{"max_crashes": crashes, **given})

    def violations(self, **given: Any) -> list[Violation]:
        """Judge what was recorded, once every job is done."""
        return check(self.facts(**given))

    def judge(self, **given: Any) -> None:
        """Fail where anything is wrong.

        Raises:
            AssertionError: With every violation and the ends of the logs.
        """
        found = self.violations(**given)
        if found:
            lines = "\n".join(map(str, found[:40]))
            raise AssertionError(f"{len(found)} violations:\n{lines}\n{self.logs()}")


def _shortened(log: str) -> str:
    """Return the last lines of a log, of each line what it says."""
    lines = [json.loads(line) if line.startswith("{") else {"message": line} for line in log.splitlines()[-12:]]
    return "\n".join(f"{line.get('@timestamp', '')[11:23]} {line.get('message', line)}"[:300] for line in lines)


_prepared: dict[str, Database] = {}


def prepared(empty: Callable[[], Database], folder: Path, name: str) -> Database:
    """Return a database with the tables, the workflows and the history, copied from one that is made once.

    Args:
        empty: Makes an empty one.
        folder: For the logs.
        name: Of the server that it is on: each has its own original.
    """
    if name not in _prepared:
        original = empty()
        site = Site(original, folder)
        status = site.start("-m", "faults.prepare").wait()
        assert status == 0, site.logs()
        original.execute(*statements(original.kind))
        _prepared[name] = original
    return _prepared[name].copy(next_name())


def forget(name: str) -> None:
    """Drop the original of a server."""
    if (original := _prepared.pop(name, None)) is not None:
        original.drop()
