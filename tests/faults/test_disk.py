"""A disk that is full: emitting fails with a typed error, workers stay, and go on when there is room again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.conftest import MakeSite
from faults.databases import Database, SQLite, next_name
from faults.site import LEASE, Site, prepared

TRY_TO_EMIT = """
import django; django.setup()
from automate.errors import AutomateError
from automate.events import emit_event
from django.db import DatabaseError
try:
    for number in range(200):
        emit_event("faults.one", {"n": number, "filler": "x" * 20_000})
except (DatabaseError, AutomateError) as error:
    print(type(error).__name__, error)
    raise SystemExit(75)
"""


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 48 MB, where other users may come to."""
    folder = Path(tempfile.mkdtemp(prefix="faults_disk_"))
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True) if os.getuid() == 0 else None
    if done is None or done.returncode:
        folder.rmdir()
        pytest.skip(f"a small disk is mounted by root alone: {done.stderr.strip() if done else 'this is not root'}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


@pytest.fixture
def site_on_small_disk(
    small_disk: Path, kind: str, request: pytest.FixtureRequest, make_site: MakeSite, tmp_path: Path
) -> Site:
    if kind == "mariadb":
        pytest.skip("a MariaDB of the tests' own is not started")
    name = f"small-{small_disk}"
    if kind == "postgres":
        cluster = request.getfixturevalue("cluster")
        cluster.own(small_disk)
        server = cluster.database(suffix="TABLESPACE small")
        server.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")

        def empty() -> Database:
            made: Database = server.create(f"small_{next_name()}")
            return made
    else:

        def empty() -> Database:
            options = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"}
            config = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(small_disk / "db"), "OPTIONS": options}
            return SQLite(config)

    return make_site(prepared(empty, tmp_path, name))


def fill(disk: Path) -> Path:
    """Write a file that leaves no room for anything."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 512, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
    return filler


def test_a_full_disk_stops_work_and_loses_none(site_on_small_disk: Site, small_disk: Path) -> None:
    site = site_on_small_disk
    site.emit(40)
    filler = fill(small_disk)
    emitter = site.start("-c", TRY_TO_EMIT)
    assert emitter.wait() == 75, site.logs()  # an error that the caller can catch, and nothing else
    worker = site.worker("--concurrency", "4")
    time.sleep(2 * LEASE)
    assert worker.alive(), site.logs()
    filler.unlink()
    site.drained()
    assert worker.alive()
    site.judge()
    assert len(site.facts().events) >= 40
