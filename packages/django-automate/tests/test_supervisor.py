"""The supervisor: children that die or hang are replaced, and none outlives its parent's word."""

from __future__ import annotations

import errno
import os
import queue
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from automate.worker.recovery import Recovery
from automate.worker.supervisor import Supervisor

# Each start leaves a line, beats once, and then does what it is told to. PyDLL keeps the interpreter's lock, as an
# endless loop in native code does: no other thread of the child can run.
CHILD = """
import ctypes, os, sys, time
from itertools import pairwise
from pathlib import Path
from automate.worker.supervisor import beat
starts = Path(sys.argv[1])
with starts.open("a") as file:
    file.write(f"{os.getpid()}\\n")
beat(lambda: True)
time.sleep(0.3)
if sys.argv[2] == "hang" and len(starts.read_text().split()) == 1:
    ctypes.PyDLL(None).sleep(60)
if sys.argv[2] == "segfault" and len(starts.read_text().split()) == 1:
    ctypes.string_at(0)
time.sleep(60)
"""


# A signal that comes at the worst of times: while the thread that will handle it is within a wait, at some line of it.
INTERRUPTED = """
import signal, sys
from automate.worker.supervisor import Supervisor

lines = []

def trace(frame, event, arg):
    code = frame.f_code
    if code.co_name != "wait" or not code.co_filename.endswith(("threading.py", "stopping.py")):
        return None
    lines.extend([event] if event == "line" else [])
    if len(lines) == {line}:
        signal.raise_signal(signal.SIGTERM)
    return trace if len(lines) < {line} else None

child = "import time; time.sleep(60)"
supervisor = Supervisor([sys.executable, "-c", child], worker_id="test", count=1, grace=1)
supervisor.install_signal_handlers()
sys.settrace(trace)
supervisor.run()
print("stopped")
"""


def supervise(tmp_path: Path, what: str, silence: float = 1.5) -> tuple[Supervisor, threading.Thread, Path]:
    starts = tmp_path / "starts"
    starts.touch()
    command = [sys.executable, "-c", CHILD, str(starts), what]
    supervisor = Supervisor(command, worker_id="test", count=1, grace=1, silence=silence)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    return supervisor, thread, starts


@pytest.mark.parametrize("what", ["hang", "segfault"])
def test_a_child_that_hangs_or_dies_in_native_code_is_replaced(tmp_path: Path, what: str) -> None:
    supervisor, thread, starts = supervise(tmp_path, what)
    deadline = time.monotonic() + 60
    while len(starts.read_text().split()) < 2:
        assert time.monotonic() < deadline, "nobody took its place"
        time.sleep(0.05)
    first, second = starts.read_text().split()[:2]
    assert first != second
    assert not Path(f"/proc/{first}").exists()
    supervisor.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert not Path(f"/proc/{second}").exists()


def test_a_child_that_beats_is_left_alone_for_much_longer_than_the_silence(tmp_path: Path) -> None:
    supervisor, thread, starts = supervise(tmp_path, "work", silence=2.5)
    time.sleep(6)
    supervisor.stop()
    thread.join(30)
    assert len(starts.read_text().split()) == 1


def test_a_child_gets_the_time_to_hand_back_after_the_grace(tmp_path: Path) -> None:
    starts, ended = tmp_path / "starts", tmp_path / "ended"
    script = (
        "import signal, sys, time; from pathlib import Path\n"
        "def stop(*_): time.sleep(2); Path(sys.argv[2]).touch(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop); Path(sys.argv[1]).touch(); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(starts), str(ended)]
    supervisor = Supervisor(command, worker_id="test", count=1, grace=0)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not starts.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    supervisor.stop()
    thread.join(30)
    assert ended.exists()


def test_a_child_that_cannot_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_popen, started = subprocess.Popen, []

    def popen(*args: Any, **kwargs: Any) -> Any:
        started.append(len(os.listdir("/proc/self/fd")))
        if 2 <= len(started) <= 4:
            raise OSError(errno.EAGAIN, "no more processes")
        return true_popen(*args, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", popen)
    supervisor, thread, starts = supervise(tmp_path, "segfault")
    deadline = time.monotonic() + 30
    while len(starts.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    supervisor.stop()
    thread.join(30)
    assert len(starts.read_text().split()) == 2
    assert len(started) == 5
    opened = [after - before for before, after in pairwise(started[1:])]
    assert all(more <= 0 for more in opened), "no file is left open by an attempt"  # others may close theirs meanwhile


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_signal_in_the_middle_of_a_wait_stops_it(line: int) -> None:
    code = INTERRUPTED.format(line=line)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr


def test_children_that_die_at_once_are_started_ever_more_slowly(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    starts.touch()
    script = "import os, sys; open(sys.argv[1], 'a').write('x\\n'); os.kill(os.getpid(), 9)"
    command = [sys.executable, "-c", script, str(starts)]
    supervisor = Supervisor(command, worker_id="test", count=1, grace=1)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    time.sleep(4)
    supervisor.stop()
    thread.join(30)
    assert 2 <= len(starts.read_text().split()) <= 6


def test_each_life_of_a_child_has_a_name_and_whoever_dies_is_told_of_once(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    starts.touch()
    # The first dies, its successor ends by itself, as by an os._exit(0) of an action, and the third lives on.
    script = (
        "import os, sys, time; from pathlib import Path\n"
        "starts = Path(sys.argv[1])\n"
        "with starts.open('a') as file: file.write(sys.argv[sys.argv.index('--worker-id') + 1] + '\\n')\n"
        "life = len(starts.read_text().split())\n"
        "if life == 1: os.kill(os.getpid(), 9)\n"
        "if life == 3: time.sleep(60)"
    )
    died: list[str] = []
    command = [sys.executable, "-c", script, str(starts)]
    supervisor = Supervisor(command, worker_id="test", count=1, grace=1, died=died.append)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    deadline = time.monotonic() + 30
    while len(starts.read_text().split()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    names = starts.read_text().split()
    assert died == names[:2]
    supervisor.stop()
    thread.join(30)
    assert len(set(names)) == 3
    assert all(name.startswith("test.1-") for name in names)
    assert died == names  # a signal ended the third, which knows no SIGTERM


def test_of_children_that_are_not_replaced_those_that_failed_are_told_of(tmp_path: Path) -> None:
    script = "import sys; sys.exit(sys.argv[sys.argv.index('--worker-id') + 1].startswith('test.2-'))"
    died: list[str] = []
    command = [sys.executable, "-c", script]
    supervisor = Supervisor(command, worker_id="test", count=3, grace=1, replace=False, died=died.append)
    assert supervisor.run() == 1
    assert [name.partition("-")[0] for name in died] == ["test.2"]


def test_a_thread_that_is_not_to_be_had_ends_nothing_and_the_next_death_tells_of_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recovery, looked = Recovery(30.0, 3), queue.SimpleQueue[str]()
    monkeypatch.setattr(recovery, "_look", lambda dead: looked.put(dead.name))

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", refuse)
        recovery.take_back("first")
    recovery.take_back("second")
    assert {looked.get(timeout=30), looked.get(timeout=30)} == {"first", "second"}
    recovery.close(30)
