"""Real worker processes, really killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from automate.events import emit_event
from automate.models import Event, Execution, ExecutionRun
from automate_core.testing.databases import chosen_database
from automate_outbox.counters import TOTALS
from automate_outbox.models import OutboxJob, WorkerBeat
from django.core.management import call_command
from django.db import connection

pytestmark = [pytest.mark.usefixtures("db"), pytest.mark.slow]

HERE = Path(__file__).parent
FAST = {"OUTBOX": {"reaper_interval_seconds": 0.2}, "EXECUTION": {"retry_initial_seconds": 0.05}}


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return result


class Workers:
    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.processes: list[subprocess.Popen[bytes]] = []
        self.automate: dict[str, Any] = FAST

    def environment(self, **extra: str) -> dict[str, str]:
        config = {
            key: str(value) if key == "NAME" else value
            for key, value in connection.settings_dict.items()
            if key in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
        }
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)]),
            "DJANGO_SETTINGS_MODULE": "worker_settings",
            "WORKER_DATABASE": json.dumps(config),
            "WORKER_DATABASE_KIND": chosen_database(),
            "WORKER_AUTOMATE": json.dumps(self.automate),
            "CRASH_LEDGER": str(self.ledger),
            **extra,
        }

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[bytes]:
        alone = [] if "process" in arguments or "thread" in arguments else ["--unsupervised"]
        command = [sys.executable, "-m", "django", "automate_worker", "--poll", "0.05", *alone, *arguments]
        process = subprocess.Popen(
            command, env=self.environment(**extra), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.processes.append(process)
        return process

    def trace(self) -> list[str]:
        return self.ledger.read_text().split() if self.ledger.exists() else []

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path / "ledger")
    call_command("automate_sync", stdout=io.StringIO())
    yield workers
    workers.close()


def finished() -> bool:
    return ExecutionRun.objects.filter(status="SUCCESS").exists()


@pytest.mark.parametrize("step", ["s1", "s2", "s3", "s4"])
def test_killed_between_two_steps_the_run_goes_on_where_it_was(workers: Workers, step: str) -> None:
    emit_event("crash.now", {})
    first = workers.start("--lease", "1", "--mode", "synchronous", CRASH_AFTER=step)
    assert first.wait(30) == -signal.SIGKILL
    assert workers.trace()[-1] == step
    workers.start("--lease", "1")
    wait_for(finished)
    assert workers.trace() == ["s1", "s2", "s3", "s4", "s5"]
    run = ExecutionRun.objects.get()
    assert [(s.step_id, s.attempt) for s in run.steps.all()] == [(f"s{n}", 1) for n in range(1, 6)]


def test_a_shadow_is_never_run_however_many_work_and_die(workers: Workers) -> None:
    from automate.models import Decision
    from automate.publish import publish

    trigger = {"type": "event", "event": "crash.now"}
    shadow = {"id": "s1", "action": "crash.trace", "params": {"name": "shadow"}}
    publish({"slug": "crash", "trigger": trigger, "steps": [shadow]}, shadow=True)
    publish({"slug": "other", "trigger": trigger, "steps": [shadow]}, shadow=True)
    for _ in range(20):
        emit_event("crash.now", {})
    first = workers.start("--lease", "1", "--mode", "synchronous", CRASH_AFTER="s3")
    assert first.wait(30) == -signal.SIGKILL
    for _ in range(2):
        workers.start("--lease", "1")
    wait_for(lambda: ExecutionRun.objects.filter(status="SUCCESS").count() == 20)
    wait_for(lambda: not OutboxJob.objects.exclude(status="COMPLETED").exists())
    decided = Decision.objects.filter(matched=True).values_list("version__workflow__slug", "shadow")
    assert sorted(decided) == sorted([("crash", False), ("crash", True), ("other", True)] * 20)
    assert {run.execution.version.live for run in ExecutionRun.objects.all()} == {True}
    assert ExecutionRun.objects.count() == Execution.objects.count() == 20
    assert "shadow" not in workers.trace()


def test_killed_within_a_step_that_step_alone_is_run_again(workers: Workers) -> None:
    emit_event("crash.now", {})
    assert workers.start("--lease", "1", CRASH_IN="s3").wait(30) == -signal.SIGKILL
    workers.start("--lease", "1")
    wait_for(finished)
    assert workers.trace() == ["s1", "s2", "s3", "s3", "s4", "s5"]


def test_a_poisonous_item_is_dead_after_three_crashes_and_its_run_says_so(workers: Workers) -> None:
    emit_event("crash.now", {})
    for _ in range(3):
        process = workers.start("--lease", "1", CRASH_IN="s2")
        assert process.wait(30) == -signal.SIGKILL
    workers.start("--lease", "1", CRASH_IN="s2")
    run = wait_for(lambda: ExecutionRun.objects.filter(status="FAILED").first())
    assert run.error["code"] == "crashed"
    assert Execution.objects.get().status == "FAILED"
    assert OutboxJob.objects.get(pk=run.job_id).status == "FAILED"
    assert workers.trace() == ["s1", "s2", "s2", "s2"]


def test_sigterm_finishes_what_is_in_hand(workers: Workers) -> None:
    emit_event("slow.now", {"seconds": 0.5})
    process = workers.start("--grace", "10")
    wait_for(lambda: workers.trace() == ["s1"])
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    # The step was finished and the run handed back, unharmed and not charged, before its next step.
    assert workers.trace() == ["s1"]
    job = OutboxJob.objects.get(kind="automate.run")
    assert (job.status, job.attempts, job.crashes) == ("PENDING", 0, 0)
    workers.start()
    wait_for(finished)
    assert workers.trace() == ["s1", "s2"]


def test_sigterm_hands_back_what_outlasts_the_grace(workers: Workers) -> None:
    emit_event("slow.now", {"seconds": 30})
    process = workers.start("--grace", "0.3")
    wait_for(lambda: workers.trace() == ["s1"])
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert time.monotonic() - began < 10
    job = OutboxJob.objects.get(kind="automate.run")
    assert (job.status, job.attempts, job.crashes) == ("PENDING", 0, 0)


def test_a_frozen_worker_writes_nothing_after_its_lease_was_taken(workers: Workers) -> None:
    emit_event("slow.now", {"seconds": 1.0})
    frozen = workers.start("--lease", "1")
    wait_for(lambda: workers.trace() == ["s1"])
    frozen.send_signal(signal.SIGSTOP)
    workers.start("--lease", "1")
    wait_for(finished)
    frozen.send_signal(signal.SIGCONT)
    time.sleep(1.5)
    run = ExecutionRun.objects.get()
    assert [(s.step_id, s.status, s.attempt) for s in run.steps.all()] == [("s1", "SUCCESS", 1), ("s2", "SUCCESS", 1)]
    assert workers.trace() == ["s1", "s1", "s2"]
    frozen.send_signal(signal.SIGTERM)
    assert frozen.wait(15) == 0


def test_two_workers_share_the_work_and_double_nothing(workers: Workers) -> None:
    for _ in range(10):
        emit_event("crash.now", {})
    for _ in range(2):
        workers.start()
    wait_for(lambda: ExecutionRun.objects.filter(status="SUCCESS").count() == 10, 60)
    assert len(workers.trace()) == 50
    assert Event.objects.count() == 10


def test_process_mode_replaces_a_child_that_dies(workers: Workers) -> None:
    parent = workers.start(
        "--mode", "process", "--concurrency", "2", "--lease", "1", "--worker-id", "pm", CRASH_IN="s2"
    )
    emit_event("crash.now", {})
    run = wait_for(lambda: ExecutionRun.objects.filter(status="FAILED").first(), 60)
    assert run.error["code"] == "crashed"
    alive = WorkerBeat.objects.exclude(pk=TOTALS)  # the rows of the dead are part of the totals by now, or soon
    wait_for(lambda: set(alive.values_list("mode", flat=True)) == {"process"})
    emit_event("slow.now", {"seconds": 0})  # the same steps' names, so s2 kills its workers too
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(30) == 0


def test_drain_and_once_end_by_themselves(workers: Workers) -> None:
    for _ in range(3):
        emit_event("crash.now", {})
    assert workers.start("--drain", "--mode", "synchronous").wait(30) == 0
    assert ExecutionRun.objects.filter(status="SUCCESS").count() == 3
    assert workers.start("--once").wait(30) == 0
    assert workers.start("--mode", "process", "--concurrency", "2", "--drain").wait(60) == 0


def test_the_children_end_when_their_parent_was_killed(workers: Workers) -> None:
    emit_event("slow.now", {"seconds": 1.0})
    parent = workers.start("--mode", "process", "--concurrency", "2", "--grace", "10", "--worker-id", "orphans")
    wait_for(lambda: workers.trace() == ["s1"])
    children = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
    assert len(children) == 2
    parent.kill()
    parent.wait(10)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    # They drained: the step was finished, and the run handed back unharmed.
    job = OutboxJob.objects.get(kind="automate.run")
    assert (job.status, job.attempts, job.crashes) == ("PENDING", 0, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--concurrency", "0"), ("--lease", "0.5"), ("--lease", "nan"), ("--poll", "0"), ("--poll", "inf"),
        ("--grace", "-1"), ("--worker-id", ""), ("--worker-id", "x" * 190), ("--once", "--drain"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_meant_are_refused(arguments: tuple[str, ...]) -> None:
    from django.core.management.base import CommandError

    with pytest.raises(CommandError):
        call_command("automate_worker", *arguments)
