"""A worker whose clock is an hour off: leases are the database's time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from faults.site import LEASE, Site
from faults.test_signals import slow_work, steps_begun


def faked(offset: str) -> dict[str, Any]:
    """Return the variables that shift the clock of a process, but for its measure of time."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing = pytest.fail if os.environ.get("CI", "").lower() == "true" else pytest.skip
        missing("the clock is shifted by libfaketime: apt install libfaketime")
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_a_worker_whose_clock_is_off_steals_nothing_and_keeps_nothing(site: Site, kind: str, offset: str) -> None:
    if kind == "sqlite":
        pytest.skip("SQLite has no clock but its process's")
    wrong = faked(offset)
    lease = ("--lease", str(3 * LEASE))
    slow_work(site, 3 * LEASE, count=3)
    site.worker("--concurrency", "3", *lease)
    steps_begun(site, 3)
    # It finds three leases that by its own clock ended an hour ago, or end in an hour.
    odd = site.worker("--concurrency", "4", *lease, **wrong)
    site.emit(30, first=100, **wrong)
    site.drained()
    site.judge()
    assert site.counted() == 3 + 40
    assert all(job.crashes == 0 for job in site.facts().jobs.values())
    # And what it holds when it dies is taken back as from any other.
    slow_work_again(site)
    steps_begun(site, 3 + 40 + 2)
    odd.kill()
    site.drained()
    site.judge()


def slow_work_again(site: Site) -> None:
    site.emit(2, "faults.slow", first=1000, payload={"seconds": LEASE})
    time.sleep(0.1)
