"""Actions that end the process, or try to: each is dead after a few crashes, and its neighbours are unharmed."""

from __future__ import annotations

import pytest

from faults.conftest import FULL
from faults.site import PATIENCE, Process, Site, wait_for

FATAL = ("exit", "segfault")
"""Nothing in Python can catch these."""
RAISED = ("SystemExit", "BaseException", "MemoryError", "loop")
"""These are outcomes of their step alone."""


def watched(site: Site, *arguments: str) -> None:
    """Keep a worker running, as a service manager does, until the work is done."""
    workers: list[Process] = []

    def tend() -> bool:
        if not workers or not workers[-1].alive():
            workers.append(site.worker(*arguments))
        return site.live() == 0

    with site.explained():
        wait_for(tend, "every job is done")


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_what_kills_workers_is_quarantined_and_the_rest_is_done(site: Site, mode: str) -> None:
    for number, how in enumerate(FATAL):
        site.emit(1, "faults.poison", first=1000 + number, payload={"how": how})
    site.emit(20)
    watched(site, "--mode", mode, "--concurrency", "2", "--lease", "1")
    site.judge(may_fail=frozenset({"poison"}))
    ended = [(run.status, run.code) for run in site.facts().runs.values() if run.status != "SUCCESS"]
    # The neighbours may have been in hand at some of the crashes, and none of them at all.
    assert sorted(ended) == [("FAILED", "crashed")] * len(FATAL)
    assert max(job.crashes for job in site.facts().jobs.values()) == 3


def test_what_can_be_caught_fails_its_run_and_no_worker(site: Site) -> None:
    for number, how in enumerate(RAISED):
        site.emit(1, "faults.poison", first=1000 + number, payload={"how": how})
    worker = site.worker("--concurrency", "4", "--lease", "15")
    site.emit(20)
    site.drained()
    assert worker.alive()
    site.judge(may_fail=frozenset({"poison"}))
    codes = [run.code for run in site.facts().runs.values() if run.status != "SUCCESS"]
    assert len(codes) == len(RAISED)
    assert codes.count("step_timeout") == 1
    assert "crashed" not in codes
    assert all(job.crashes == 0 for job in site.facts().jobs.values())


def test_an_endless_loop_in_native_code_is_ended_by_whoever_supervises(site: Site, kind: str) -> None:
    if kind != "sqlite" and not FULL:
        pytest.skip("the database has no part in it: with SQLite, or at full size")
    site.emit(1, "faults.poison", payload={"how": "native loop"})
    site.worker("--mode", "process", "--concurrency", "2", "--lease", "1")
    site.emit(6, first=100)
    with site.explained():
        wait_for(lambda: site.live() == 0, "the loop is dead, and the rest is done", 2 * PATIENCE)
    site.judge(may_fail=frozenset({"poison"}))
