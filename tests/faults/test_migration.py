"""A column is added to the outbox while three workers are at work."""

from __future__ import annotations

import time

from faults.site import PATIENCE, Site

WAITS = {
    "sqlite": "PRAGMA busy_timeout = 500",
    "postgres": "SET lock_timeout = '200ms'",
    "mariadb": "SET SESSION lock_wait_timeout = 1",
}
ADD = "ALTER TABLE automate_outbox_job ADD COLUMN faults_{0} varchar(20) NOT NULL DEFAULT ''"


def test_a_migration_under_load_stops_nobody(site: Site, kind: str) -> None:
    emitter = site.emitter(400, batch=5)
    workers = [site.worker("--concurrency", "4", "--lease", "15") for _ in range(3)]
    for number in range(3):
        add(site, kind, number)
        time.sleep(0.3)
    assert emitter.wait() == 0
    site.drained()
    assert all(worker.alive() for worker in workers)
    site.judge()
    assert all(job.crashes == 0 for job in site.facts().jobs.values())


def add(site: Site, kind: str, number: int) -> None:
    """Add a column, giving up quickly and trying again, as a migration under load should."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            site.database.execute(WAITS[kind], ADD.format(number))
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
