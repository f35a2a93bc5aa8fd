"""Memory, threads and files of a worker over many jobs."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path

import pytest

from faults.conftest import FULL, report
from faults.site import Process, Site, wait_for

JOBS = 99_000 if FULL else 12_000
WINDOWS = 3 if FULL else 5
"""A leak grows in each of them; a cache that fills, once."""
WARM_UP = 24_000 if FULL else 6_000
"""Jobs after which the pools have their threads and every connection of SQLite the pages of its cache."""
GROWTH = 5.0
"""Megabytes per 100,000 jobs."""
NOISE = 1.5
"""Megabytes by which memory moves without meaning anything: what the allocator keeps, and what it gives back late."""


class Usage:
    """What the processes of a worker use, together."""

    def __init__(self, worker: Process) -> None:
        members = worker.members()
        self.memory = sum(_resident(pid) for pid in members) / 1e6
        self.threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in members)
        self.files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in members)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def settled(worker: Process) -> Usage:
    """Return what an idle worker uses, the least of some looks."""
    looks = []
    for _ in range(10):
        time.sleep(0.2)
        looks.append(Usage(worker))
    return min(looks, key=lambda usage: usage.memory)


def emit_while_it_works(site: Site, count: int, first: int) -> None:
    """Emit events beside the worker, and return when they are processed."""
    emitter = site.emitter(count, "faults.one", batch=200, first=first)
    with site.explained():
        wait_for(lambda: not emitter.alive(), "everything is emitted", 3600)
    site.drained(3600)


def test_a_worker_uses_no_more_after_many_jobs_than_before(
    site: Site, kind: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = site.worker("--lease", "30")
    emit_while_it_works(site, WARM_UP, 0)
    done = WARM_UP
    looks = [settled(worker)]
    for _ in range(WINDOWS):
        emit_while_it_works(site, JOBS // WINDOWS, done)
        done += JOBS // WINDOWS
        looks.append(settled(worker))
    before, after = looks[0], looks[-1]
    growth = min(later.memory - earlier.memory for earlier, later in pairwise(looks))
    with capsys.disabled():
        request.config.get_terminal_writer().line(
            f"\n  {JOBS} jobs: memory {' → '.join(f'{look.memory:.1f}' for look in looks)} MB, "
            f"threads {before.threads} → {after.threads}, files {before.files} → {after.files}"
        )
    per = 100_000 * WINDOWS / JOBS
    report(
        f"{kind}-3-flatness",
        **{
            "growth in MB per 100,000 jobs": growth * per,
            "threads more": after.threads - before.threads,
            "files more": after.files - before.files,
        },
    )
    assert growth <= GROWTH / per + NOISE, f"it grew by {growth:.1f} MB or more over each {JOBS // WINDOWS} jobs"
    assert after.threads <= before.threads
    # A thread of the pool may have come to the database for the first time: SQLite has a file and a log open for it.
    assert after.files <= before.files + 2 * before.threads
    assert site.counted() == done
