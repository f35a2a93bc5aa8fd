"""A PostgreSQL server that is stopped, that crashes, and that ends every session."""

from __future__ import annotations

import time

import pytest

from faults.cluster import Cluster
from faults.conftest import FULL, report
from faults.figures import first_claim_after
from faults.site import Site
from faults.test_signals import steps_begun

OUTAGE = 30.0 if FULL else 3.0
SETTLED = 5.0 if FULL else 30.0
"""Seconds within which work is taken up again; in a gate, a machine that is busy with other things gets its time."""


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restarted_server_loses_and_doubles_nothing(private_site: Site, cluster: Cluster, mode: str) -> None:
    site = private_site
    emitter = site.emitter(400, batch=5)
    workers = [site.worker() for _ in range(2)]
    for pause in (0.0, OUTAGE):
        steps_begun(site, site.counted() + 60)
        cluster.stop(mode)
        time.sleep(pause)
        cluster.start()
    returned = time.time()
    assert emitter.wait() == 0
    site.drained()
    site.judge()
    assert all(worker.alive() for worker in workers)
    seconds = first_claim_after(site.facts().changes, returned)
    report(f"postgres-2-outage-{mode}", **{f"first claim after {OUTAGE:g} s without server ({mode})": seconds})
    assert seconds < SETTLED


def test_sessions_that_the_server_ends_are_opened_again(site: Site, kind: str) -> None:
    if kind != "postgres":
        pytest.skip("it is about PostgreSQL")
    worker = site.worker("--concurrency", "4")
    emitter = site.emitter(200, batch=5)
    while emitter.alive():
        site.database.terminate_others()  # type: ignore[attr-defined]  # PostgreSQL's
        time.sleep(0.2)
    assert emitter.wait() == 0
    site.drained()
    # Now it is idle, and whatever it listens with is cut: polling finds the work.
    site.database.terminate_others()  # type: ignore[attr-defined]
    site.emit(5, first=1000)
    site.drained()
    assert worker.alive()
    site.judge()
