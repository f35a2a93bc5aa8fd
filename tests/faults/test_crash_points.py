"""Killed right before and right after each commit, in emitters and in workers."""

from __future__ import annotations

from faults.app.seams import POINTS
from faults.site import Site, wait_for

WORKER_POINTS = [f"{when}-{what}" for what in POINTS if what != "emit" for when in ("before", "after")]


def test_an_emitter_killed_around_its_commit_loses_and_doubles_nothing(site: Site) -> None:
    for point in ("before-emit:3", "after-emit:2"):
        emitter = site.emitter(60, AUTOMATE_CRASH_AT=point)
        assert emitter.wait() < 0, site.logs()
        site.crashed.unlink()
    site.emit(60)
    site.worker("--drain").wait()
    site.drained()
    site.judge()
    assert len(site.facts().events) == 60


def test_a_worker_killed_around_any_commit_loses_and_doubles_nothing(site: Site) -> None:
    site.emit(150)
    for point in WORKER_POINTS:
        # A lease that outlasts most of the crashes: else one item would be hit again and again, and be quarantined.
        worker = site.worker("--concurrency", "4", "--lease", "8", AUTOMATE_CRASH_AT=f"{point}:2")
        with site.explained():
            wait_for(site.crashed.exists, f"a worker comes to {point}, as long as there is work")
        worker.kill()
        site.crashed.unlink()
    site.worker()
    site.drained()
    site.judge()
