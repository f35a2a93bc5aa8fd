"""Workers that are frozen, told to end, doubled, or slower than their lease."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest

from faults.checker import check
from faults.site import LEASE, Process, Site, wait_for


def slow_work(site: Site, seconds: float, count: int = 4) -> None:
    site.emit(count, "faults.slow", payload={"seconds": seconds})


def steps_begun(site: Site, count: int) -> None:
    with site.explained():
        wait_for(lambda: site.counted() >= count, f"{count} steps are under way")


def freeze_until_taken_over(site: Site, ids: Sequence[str], **variables: Any) -> Process:
    """Freeze the one of two workers that has the work, until the other one has taken it over; return the first."""
    # Without a supervisor, whose children never have a name that somebody had before.
    options = ("--unsupervised", "--concurrency", "4", "--worker-id")
    workers = [site.worker(*options, id_, **variables) for id_ in ids]
    with site.explained():
        wait_for(lambda: all(worker.ready(alone=True) for worker in workers), "two workers are ready")
    slow_work(site, 2 * LEASE)
    steps_begun(site, 4)
    frozen = next(worker for worker in workers if site.last_effect_by() in worker.members())
    frozen.send(signal.SIGSTOP)
    try:
        steps_begun(site, 5)
    finally:
        # Thawed while the other one is at work: its steps end before those, and it tries to write that.
        frozen.send(signal.SIGCONT)
    return frozen


@pytest.mark.parametrize("ids", [("one", "other"), ("same", "same")])
def test_a_frozen_worker_writes_nothing_once_its_lease_was_taken(site: Site, ids: tuple[str, str]) -> None:
    frozen = freeze_until_taken_over(site, ids)
    site.drained()
    frozen.terminate()
    assert frozen.wait() == 0
    site.judge()


def test_a_step_longer_than_the_lease_is_kept_by_the_heartbeat(site: Site) -> None:
    lease = 2 * LEASE  # a machine that is busy with other things may starve a heartbeat for a moment
    slow_work(site, 1.5 * lease, count=2)
    for _ in range(2):
        site.worker("--lease", str(lease))
    site.drained()
    site.judge()
    assert site.counted() == 2
    assert all(job.crashes == 0 for job in site.facts().jobs.values())


def test_a_worker_told_to_end_finishes_its_steps_and_hands_back_the_rest_uncharged(site: Site) -> None:
    slow_work(site, 1.0)
    worker = site.worker("--concurrency", "2")
    steps_begun(site, 2)
    worker.terminate()
    assert worker.wait() == 0
    jobs = site.database.query("SELECT status, attempts, crashes FROM automate_outbox_job WHERE status <> 'COMPLETED'")
    assert {tuple(row) for row in jobs} == {("PENDING", 0, 0)}
    site.worker()
    site.drained()
    site.judge()
    assert site.counted() == 4  # nothing was done twice


def test_a_worker_told_twice_ends_at_once_and_its_work_is_taken_up_again(site: Site) -> None:
    slow_work(site, 30.0, count=2)
    worker = site.worker("--grace", "60")
    steps_begun(site, 2)
    worker.terminate()
    time.sleep(0.5)
    worker.terminate()
    worker.wait(20)  # far less than its grace
    wait_for(lambda: worker.members() == [], "its processes are gone")
    site.database.execute(  # what is left of 30 seconds is not waited for: the payload is the test's own
        'UPDATE automate_event SET payload = \'{"seconds": 0, "n": 0}\'',
        'UPDATE automate_execution SET context = \'{"seconds": 0, "n": 0}\'',
    )
    site.worker()
    site.drained()
    site.judge()


def test_of_many_reapers_and_slow_workers_one_wins_each_item(site: Site) -> None:
    """Twenty rounds: workers freeze for just about a lease, so that reapers and late results meet."""
    slow_work(site, 0.3, count=60)
    workers = [site.worker("--concurrency", "4", "--worker-id", f"w{number}") for number in range(3)]
    steps_begun(site, 6)
    for round_ in range(20):
        worker: Process = workers[round_ % 3]
        worker.send(signal.SIGSTOP)
        time.sleep(LEASE if round_ % 4 == 0 else 0.05)
        worker.send(signal.SIGCONT)
        if site.live() == 0:
            break
    site.drained()
    found = check(site.facts())
    assert found == [], site.logs()
