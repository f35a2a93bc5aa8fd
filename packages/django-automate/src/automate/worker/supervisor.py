"""A small parent that keeps worker processes running: it replaces those that die, and those that stop beating."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from automate.worker.stopping import Stopping

__all__ = ["SUPERVISED", "Supervisor", "beat", "child_command", "child_name", "when_orphaned"]

SUPERVISED = "--supervised"
"""The option of ``automate_worker`` that makes a child end with its parent."""

logger = logging.getLogger("automate.worker")

_STEADY_SECONDS = 10.0
"""A child that lives longer than this was not killed by its start."""
_START_SECONDS = 120.0
"""How long a child may take to its first beat."""
_HAND_BACK_SECONDS = 5.0
"""How long a child may take, after the grace, to hand back what it has not finished."""
_LAST_SECONDS = 2.0
"""How long a child that was killed may take to end."""
_BEAT_SECONDS = 1.0
_LOOK_SECONDS = 0.2
_BEAT_FILE = "AUTOMATE_WORKER_BEAT"
"""The environment variable that tells a child the descriptor to which it beats."""


def child_name(worker_id: str, number: int) -> str:
    """Return a name for one life of a child: nobody has had it before, so that what the dead held is known by it.

    Args:
        worker_id: The name of the worker; several hosts may have been given the same one.
        number: Which of its children.
    """
    return f"{worker_id}.{number}-{secrets.token_hex(4)}"


@dataclass(slots=True)
class _Child:
    number: int
    name: str
    process: subprocess.Popen[bytes]
    started: float
    beats: int
    beat_until: float
    quick_deaths: int = 0
    has_ended: bool = False
    restart_at: float = field(default=0.0)


class Supervisor:
    """Runs children, replaces those that die, and passes on the signal to stop.

    Args:
        command: The command line of a child; ``--worker-id NAME --supervised`` is added.
        worker_id: First part of the children's names; each start of a child has a name of its own.
        count: How many.
        grace: Seconds that children get to finish; those that need longer are killed.
        replace: Whether a child that ends is replaced; False where children end by themselves.
        silence: Seconds without a beat after which a child counts as hung and is killed.
        died: Told the name of each child that did not end in good order, once it is dead; must return at once.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        worker_id: str,
        count: int,
        grace: float,
        replace: bool = True,
        silence: float = 30.0,
        died: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._command = list(command)
        self._silence, self._died = silence, died
        self._worker_id, self._count, self._grace, self._replace = worker_id, count, grace, replace
        self._stopping = Stopping()
        self._children: list[_Child] = []

    def stop(self) -> None:
        """Pass the signal on to the children, and end when they have ended."""
        self._stopping.set()

    def install_signal_handlers(self) -> None:
        """Stop on SIGTERM and SIGINT; the second signal kills the children."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self._stopping.is_set():
                for child in self._children:
                    child.process.kill()
                os._exit(128 + number)
            self.stop()

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)

    def run(self) -> int:
        """Supervise until told to stop, or until every child has ended by itself.

        Returns:
            0, or 1 where a child ended with an error and was not replaced.
        """
        try:
            for number in range(1, self._count + 1):
                self._children.append(self._start(number))
            return self._watch()
        finally:
            for child in self._children:
                _close(child)

    def _watch(self) -> int:
        status, looked_at = 0, time.monotonic()
        while not self._stopping.is_set():
            alive = False
            paused, looked_at = time.monotonic() - looked_at - _LOOK_SECONDS, time.monotonic()
            for child in self._children if paused > _BEAT_SECONDS else ():
                child.beat_until += paused  # it was this process that stood still, and nobody listened
            for index, child in enumerate(self._children):
                code = child.process.poll()
                if code is None:
                    alive = True
                    self._listen(child)
                    continue
                self._note_end(child, code)
                if self._replace:
                    alive = True
                    self._children[index] = self._replaced(child, code)
                else:
                    status = status or int(code != 0)
            if not alive:
                return status
            self._stopping.wait(_LOOK_SECONDS)
        return self._shut_down()

    def _listen(self, child: _Child) -> None:
        """Kill a child that has stopped beating: even its other threads cannot run, or its engine hangs."""
        now = time.monotonic()
        try:
            if os.read(child.beats, 4096):
                child.beat_until = now + self._silence
        except BlockingIOError:
            pass
        if now > child.beat_until:
            logger.error("Worker %s has stopped beating; killing it.", child.name)
            child.process.kill()  # one that hangs in the kernel does not die at once, and the others need looking after
            child.beat_until = now + self._silence

    def _note_end(self, child: _Child, code: int) -> None:
        if not child.has_ended:
            child.has_ended = True
            # One that was told to stop, and ends in good order, has handed back what it held.
            if code or (self._replace and not self._stopping.is_set()):
                self._died(child.name)

    def _start(self, number: int, quick_deaths: int = 0) -> _Child:
        # The children get their own sessions, so that Ctrl-C reaches them once, through this process. Nothing is ever
        # written to their stdin: it ends with this process, however that ends.
        name = child_name(self._worker_id, number)
        beats, beat_file = os.pipe()
        os.set_blocking(beats, False)
        python_path = os.pathsep.join(path for path in sys.path if path)
        try:
            process = subprocess.Popen(  # noqa: S603 - this program's own command line
                [*self._command, "--worker-id", name, SUPERVISED],
                stdin=subprocess.PIPE,
                start_new_session=True,
                pass_fds=(beat_file,),
                env={**os.environ, "PYTHONPATH": python_path, _BEAT_FILE: str(beat_file)},
            )
        except BaseException:
            os.close(beats)
            raise
        finally:
            os.close(beat_file)
        now = time.monotonic()
        return _Child(number, name, process, now, beats, now + _START_SECONDS, quick_deaths)

    def _replaced(self, child: _Child, code: int) -> _Child:
        """Start a child anew, after a wait where it keeps dying at once."""
        now = time.monotonic()
        if not child.restart_at:
            steady = now - child.started > _STEADY_SECONDS
            child.quick_deaths = 0 if steady else child.quick_deaths + 1
            pause = _pause(child.quick_deaths)
            child.restart_at = now + pause
            reason = f"signal {-code}" if code < 0 else f"status {code}"
            logger.error("Worker %s died (%s); replacing it in %.1f s.", child.name, reason, pause)
        if now < child.restart_at:
            return child
        try:
            successor = self._start(child.number, child.quick_deaths)
        except OSError as error:  # no process or no memory to be had, for now
            child.quick_deaths += 1
            pause = _pause(child.quick_deaths)
            child.restart_at = now + pause
            logger.error("Worker %s could not be started (%s); trying again in %.1f s.", child.name, error, pause)
            return child
        _close(child)
        return successor

    def _shut_down(self) -> int:
        for child in self._children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + self._grace + _HAND_BACK_SECONDS
        for child in self._children:
            try:
                code = child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("Worker %s did not end within the grace; killing it.", child.name)
                child.process.kill()
                try:
                    code = child.process.wait(_LAST_SECONDS)
                except subprocess.TimeoutExpired:
                    logger.error("Worker %s hangs in the kernel; it is left behind.", child.name)
                    continue
            self._note_end(child, code)
        return 0


def _pause(failures: int) -> float:
    """Return how long to wait before the next start, after some failures in a row."""
    return min(0.1 * 2 ** min(failures, 10), 10.0) if failures else 0.0


def _close(child: _Child) -> None:
    """Close this end of the pipes; one left open is one file more for ever."""
    if child.process.stdin is not None:
        child.process.stdin.close()
    os.close(child.beats)


def beat(is_alive: Callable[[], bool]) -> None:
    """Tell the parent now and then that this child works, from a thread of its own; without a parent, do nothing.

    Args:
        is_alive: Whether it does. A child whose threads cannot run does not beat either.
    """
    number = os.environ.pop(_BEAT_FILE, "")
    if not number:
        return

    def run(file: int) -> None:
        while True:
            if is_alive():
                try:
                    os.write(file, b".")
                except OSError:  # the parent has gone, and somebody else is told of that
                    return
            time.sleep(_BEAT_SECONDS)

    threading.Thread(target=run, args=(int(number),), name="automate-beat", daemon=True).start()


def child_command(settings_module: str | None, *arguments: str) -> list[str]:
    """Return the command line of a child of this process.

    Args:
        settings_module: Django's settings module; None leaves it to the environment.
        *arguments: Arguments of ``automate_worker``.
    """
    command = [sys.executable, "-m", "django", "automate_worker", *arguments]
    return command if settings_module is None else [*command, "--settings", settings_module]


def when_orphaned(stop: Callable[[], None]) -> None:
    """Call back when the parent of this child has ended, even by ``kill -9``.

    Args:
        stop: What to call, in a thread of its own.
    """

    def watch() -> None:
        while os.read(0, 1024):
            pass
        stop()

    threading.Thread(target=watch, name="automate-parent", daemon=True).start()
