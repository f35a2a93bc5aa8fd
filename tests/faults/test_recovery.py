"""A supervisor knows at once that its child is dead, and nobody waits for the leases of the dead."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from faults.cluster import Cluster
from faults.conftest import MakeSite
from faults.custody import Change
from faults.history import read_changes
from faults.site import Process, Site, wait_for

LONG = ("--lease", "60")
"""Far more than a test takes: what is taken up again meanwhile has not waited for it."""
STEP = 5.0
"""Seconds that a step takes: enough to hurt who is at it."""


def begun(site: Site, count: int) -> None:
    with site.explained():
        wait_for(lambda: site.counted() >= count, f"{count} steps are under way")


def ready(site: Site, *workers: Process) -> None:
    with site.explained():
        wait_for(lambda: all(worker.ready() for worker in workers), "the workers are ready")


def taken_back(site: Site) -> list[Change]:
    """Return where the ledger says that items were taken from the dead."""
    return [change for change in read_changes(site.database) if change.crashes > change.old_crashes]


def assert_taken_up_early(site: Site, count: int) -> None:
    """Every item that was in hand is charged with the crash and claimed anew while its old lease would still hold."""
    changes, taken = read_changes(site.database), taken_back(site)
    assert len(taken) == count, site.logs()
    for crash in taken:
        again = next(
            change for change in changes if change.seq > crash.seq and change.claims and change.row == crash.row
        )
        assert crash.expires is not None
        assert crash.at < crash.expires
        assert again.at < crash.expires, site.logs()


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_what_a_dead_child_held_is_taken_up_before_its_leases_end(make_site: MakeSite, how: str) -> None:
    """Another worker, on another host as it were, was given the same name, and loses nothing."""
    site = make_site(WORKER={"silence_seconds": 4})
    workers = [site.worker("--concurrency", "2", "--worker-id", "same", *LONG) for _ in range(2)]
    ready(site, *workers)
    site.emit(4, "faults.slow", payload={"seconds": STEP})
    begun(site, 4)
    hurt = next(worker for worker in workers if site.last_effect_by() in worker.members())
    victim = hurt.members()[-1]
    os.kill(victim, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
    site.drained()
    held = {change.row for change in read_changes(site.database) if change.claims and _pid(change) == victim}
    assert {change.row for change in taken_back(site)} <= held
    assert_taken_up_early(site, 2)
    site.judge()


def test_the_other_children_take_up_what_one_held(site: Site) -> None:
    worker = site.worker("--mode", "process", "--concurrency", "3", *LONG)
    with site.explained():
        wait_for(lambda: len(worker.members()) == 4 and worker.ready(), "three children are ready")
    site.emit(1, "faults.slow", payload={"seconds": STEP})
    begun(site, 1)
    victim = site.last_effect_by()
    others = set(worker.members()) - {victim}
    os.kill(victim, signal.SIGKILL)
    begun(site, 2)
    assert site.last_effect_by() in others, site.logs()
    site.drained()
    assert_taken_up_early(site, 1)
    site.judge()


def test_a_child_that_had_to_be_killed_at_the_end_leaves_nothing_claimed(site: Site) -> None:
    worker = site.worker("--grace", "0", *LONG)
    ready(site, worker)
    site.emit(1, "faults.slow", payload={"seconds": STEP})
    begun(site, 1)
    os.kill(worker.members()[-1], signal.SIGSTOP)  # so it hands nothing back
    worker.terminate()
    assert worker.wait() == 0
    rows = site.database.query("SELECT status, crashes FROM automate_outbox_job WHERE status <> 'COMPLETED'")
    assert [tuple(row) for row in rows] == [("RETRY", 1)], site.logs()
    site.worker()
    site.drained()
    site.judge()


def test_a_child_that_died_while_the_database_was_away_is_not_forgotten(private_site: Site, cluster: Cluster) -> None:
    site = private_site
    worker = site.worker("--concurrency", "2", *LONG)
    ready(site, worker)
    site.emit(2, "faults.slow", payload={"seconds": STEP})
    begun(site, 2)
    cluster.stop("fast")
    try:
        worker.kill_last()
        with site.explained():
            wait_for(lambda: "cannot be taken back yet" in worker.log.read_text(), "the supervisor has tried")
    finally:
        cluster.start()
    site.drained()
    assert_taken_up_early(site, 2)
    site.judge()


def test_the_rows_of_dead_children_do_not_pile_up(site: Site) -> None:
    worker = site.worker("--concurrency", "2", *LONG)
    for number in range(3):
        ready(site, worker)
        with site.explained():
            wait_for(lambda: _names(site), "the child has told that it is alive")
        (name,) = _names(site)
        worker.kill_last()
        site.emit(1, "faults.slow", first=number, payload={"seconds": 0.0})
        with site.explained():
            wait_for(lambda name=name: name not in _names(site), "the dead one is gone")  # type: ignore[misc]
    site.drained()
    wait_for(lambda: _names(site), "the last one has told that it is alive")
    assert len(_names(site)) == 1
    with site.explained():
        wait_for(lambda: not _asks_the_database(site, worker.pid), "the supervisor has let go of its connection")


def _names(site: Site) -> list[str]:
    """Return the workers that have told that they are alive."""
    rows = site.database.query("SELECT worker_id FROM automate_outbox_worker WHERE id <> 'totals'")
    return [row[0] for row in rows]


def _asks_the_database(site: Site, pid: int) -> bool:
    """Whether a process has the database's file or a socket open."""
    files = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            files.append(os.readlink(file))
    return any(file.startswith("socket:") or file == site.database.config["NAME"] for file in files)


def _pid(change: Change) -> int:
    return int(change.writer.partition("-")[0])
