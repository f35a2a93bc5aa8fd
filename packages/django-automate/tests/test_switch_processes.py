"""The kill switch under real worker processes, which nobody tells but the database."""

from __future__ import annotations

import io
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from automate.events import emit_event
from automate.models import ExecutionRun, StepRun
from automate.policy.switch import pause, resume
from automate_outbox.models import OutboxJob
from django.core.management import call_command
from test_worker_processes import Workers, wait_for

LOADED = 120.0
"""Seconds that processes may take to start where others keep the machine busy."""

pytestmark = [pytest.mark.usefixtures("db"), pytest.mark.slow]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path / "ledger")
    call_command("automate_sync", stdout=io.StringIO())
    yield workers
    workers.close()


def in_hand() -> int:
    return OutboxJob.objects.filter(status="CLAIMED").count()


@pytest.mark.parametrize("mode", [(), ("--mode", "process")])
def test_paused_nothing_is_claimed_and_resumed_nothing_is_lost_or_doubled(
    workers: Workers, mode: tuple[str, ...]
) -> None:
    for _ in range(12):
        emit_event("slow.now", {"seconds": 1.0})
    running = workers.start("--lease", "5", "--concurrency", "2", *mode)
    wait_for(lambda: len(workers.trace()) >= 2, LOADED)
    assert pause("a bad deploy", actor="ann").changed
    wait_for(lambda: not in_hand(), LOADED)
    put_down = OutboxJob.objects.filter(status="PENDING").count()
    assert put_down  # not all of it had ended
    assert not OutboxJob.objects.filter(status__in=("FAILED", "RETRY")).exists()
    done_then = Counter(workers.trace())

    for _ in range(5):
        emit_event("slow.now", {"seconds": 0.0})
    # One that starts now looks, claims nothing, and has nothing to wait for; the one that runs has long been told.
    for _ in range(2):
        assert workers.start("--drain").wait(LOADED) == 0
    assert Counter(workers.trace()) == done_then
    assert OutboxJob.objects.filter(status="PENDING").count() == put_down + 5
    assert not OutboxJob.objects.filter(status="PENDING", attempts__gt=0).exists()  # put down, not charged
    assert running.poll() is None

    assert resume(actor="ann")
    wait_for(lambda: ExecutionRun.objects.filter(status="SUCCESS").count() == 17, LOADED)
    wait_for(lambda: not OutboxJob.objects.exclude(status="COMPLETED").exists())
    assert Counter(workers.trace()) == {"s1": 17, "s2": 17}
    assert StepRun.objects.filter(status="SUCCESS").count() == StepRun.objects.count() == 34
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 0
