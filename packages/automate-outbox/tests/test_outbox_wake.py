"""Waking: heard from other processes and this one, again after every loss, and nothing is left behind."""

from __future__ import annotations

import copy
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from automate_core import settings
from automate_core.errors import ConfigurationError
from automate_core.retry import RetryPolicy
from automate_core.testing.databases import ALIASES, require_database
from automate_outbox.checks import check_listening
from automate_outbox.wake import CHANNEL, Waker, diagnose, ring, waker_for
from django.db import connections
from wake_kit import EMITTER, Bell, Proxy, transaction_pooler, until

FILES = Path("/proc/self/fd")
BEST = {"default": "local", "postgres": "notify", "mariadb": "poll"}
SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'automate-outbox%%' AND datname = current_database()"
)
LISTENERS = f"{SESSIONS} AND application_name LIKE '%%listens%%'"


@pytest.fixture
def bell() -> Bell:
    return Bell()


@contextmanager
def started(using: str, bell: Callable[[], object], mode: str) -> Iterator[Waker]:
    waker = waker_for(using, on_wake=bell)
    waker.start()
    try:
        assert waker.wait_for_verdict(30)
        assert waker.mode == mode, waker.reason
        yield waker
    finally:
        waker.stop()


@pytest.fixture(params=["default", "postgres"])
def using(request: pytest.FixtureRequest) -> str:
    return require_database(request.param)


@pytest.fixture
def postgres() -> str:
    return require_database("postgres")


@pytest.fixture
def alias() -> Iterator[Callable[..., str]]:
    """Make an alias of the PostgreSQL database with other settings."""
    made = []

    def make(name: str, **changes: Any) -> str:
        connections.settings[name] = {**copy.deepcopy(connections["postgres"].settings_dict), **changes}
        made.append(name)
        return name

    yield make
    for name in made:
        connections[name].close()
        del connections[name]
        del connections.settings[name]


@pytest.fixture
def configured() -> Iterator[Callable[..., None]]:
    yield lambda **sections: settings.configure(settings.parse(sections))
    settings.configure(None)


def query(statement: str, *params: Any) -> list[Any]:
    with connections["postgres"].cursor() as cursor:
        cursor.execute(statement, params)
        return [row[0] for row in cursor.fetchall()]


def announce() -> None:
    query("SELECT pg_notify(%s, '')", CHANNEL)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a minute of silence and the pauses after it be short."""
    pytest.importorskip("psycopg")
    at_once = RetryPolicy(initial=0.05, max=0.05)
    changes = {"_SILENCE_SECONDS": 0.1, "_PROOF_SECONDS": 0.3, "_AFTER_LOSS": at_once, "_AFTER_SILENCE": at_once}
    for name, value in changes.items():
        monkeypatch.setattr(f"automate_outbox.wake.postgres.{name}", value)


@pytest.fixture
def proxy(postgres: str) -> Iterator[Proxy]:
    database = connections[postgres].settings_dict
    made = Proxy((database["HOST"], int(database["PORT"] or 5432)))
    yield made
    made.close()


@pytest.fixture
def pgbouncer(postgres: str) -> Iterator[int]:
    with transaction_pooler(connections[postgres].settings_dict) as port:
        yield port


# -- what wakes -------------------------------------------------------------------------------------------------------


def test_the_commit_of_another_process_wakes(using: str, bell: Bell) -> None:
    database = {**connections[using].settings_dict, "TEST": {}}
    databases = json.dumps([using, {"default": {}, using: database}], default=str)
    with started(using, bell, BEST[using]) as waker:
        assert waker.reason == ""
        before = bell.rings
        command = [sys.executable, "-c", EMITTER, databases]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as emitter:
            assert emitter.stdout is not None
            assert emitter.stdout.readline() == "written\n"
            time.sleep(0.1)
            assert bell.rings == before, "it woke before the commit"
            emitter.communicate("\n")
        assert emitter.returncode == 0
        bell.wait_beyond(before)


@pytest.mark.parametrize("using", ALIASES)
def test_a_ring_wakes_the_workers_of_this_process(using: str, bell: Bell) -> None:
    other = Bell()
    with started(require_database(using), bell, BEST[using]) as first, started(using, other, BEST[using]):
        first.start()  # no second time
        before = bell.rings, other.rings
        ring("another database")
        ring(using)
        ring(using)
        assert (bell.rings, other.rings) == (before[0] + 2, before[1] + 2)
    ring(using)
    assert bell.rings == before[0] + 2


def test_a_database_in_memory_needs_no_thread(alias: Callable[..., str], bell: Bell) -> None:
    require_database("postgres")
    alias("memory", ENGINE="django.db.backends.sqlite3", NAME=":memory:", OPTIONS={})
    threads = threading.active_count()
    with started("memory", bell, "local"):
        assert threading.active_count() == threads


def test_without_a_wal_a_locked_file_is_waited_for(tmp_path: Path, bell: Bell, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    path = tmp_path / "rollback.sqlite3"
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", path)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE t (x)")
    with started("default", bell, "local") as waker:
        before = bell.rings
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("INSERT INTO t VALUES (1)")
        time.sleep(0.1)
        assert (bell.rings, waker.mode) == (before, "local")
        writer.execute("COMMIT")
        bell.wait_beyond(before)
    writer.close()


def test_a_file_that_cannot_be_read_is_polled_until_it_can(
    tmp_path: Path, bell: Bell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "later"
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", folder / "a.sqlite3")
    with started("default", bell, "poll") as waker:
        assert "cannot be watched" in waker.reason
        folder.mkdir()
        until(lambda: waker.mode == "local")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


# -- polling ----------------------------------------------------------------------------------------------------------


def test_polling_is_dense_after_work_and_bounded_in_the_end(configured: Callable[..., None]) -> None:
    waker = Waker("default", lambda: None)
    waits, idle = [], 0.0
    while idle < 3600:
        waits.append(waker.next_poll(idle))
        idle += waits[-1]
    assert waits[0] == 0.02
    assert waits == sorted(waits)
    assert waits[-1] == settings.current().worker.poll_seconds == 1
    assert len(waits) < 3630
    configured(WORKER={"poll_seconds": 0.01})
    assert waker.next_poll(0) == 0.01


def test_a_database_without_notifications_says_so() -> None:
    mode, reason = diagnose(require_database("mariadb"))
    assert mode == "poll"
    assert "has no notifications" in reason


def test_who_is_woken_polls_seldom(using: str, bell: Bell) -> None:
    with started(using, bell, BEST[using]) as waker:
        assert waker.next_poll(0) == settings.current().worker.poll_seconds
    assert (waker.mode, waker.next_poll(0)) == ("poll", 0.02)


# -- losses -----------------------------------------------------------------------------------------------------------


def test_a_listener_whose_connection_is_cut_comes_back_and_misses_nothing(postgres: str, bell: Bell) -> None:
    with started(postgres, bell, "notify") as waker:
        for _ in range(5):
            (pid,) = query(LISTENERS)
            assert query("SELECT pg_terminate_backend(%s, 10000)", pid) == [True]
            before = bell.rings
            announce()  # to nobody
            bell.wait_beyond(before)
            until(lambda: waker.mode == "notify")
            assert query(LISTENERS) != [pid]


@pytest.mark.usefixtures("quick")
def test_a_connection_that_says_nothing_more_is_replaced(
    postgres: str, alias: Callable[..., str], configured: Callable[..., None], bell: Bell, proxy: Proxy
) -> None:
    alias("proxied", HOST="127.0.0.1", PORT=str(proxy.port))
    configured(OUTBOX={"listen_using": "proxied"})
    with started(postgres, bell, "notify") as waker:
        for round_ in range(1, 4):
            until(lambda: waker.mode == "notify")
            before = bell.rings
            proxy.swallow()
            announce()  # into the hole
            bell.wait_beyond(before)
            assert proxy.accepted > round_


def test_it_can_be_stopped_while_it_connects_into_a_black_hole(
    postgres: str, alias: Callable[..., str], configured: Callable[..., None], bell: Bell, proxy: Proxy
) -> None:
    alias("proxied", HOST="127.0.0.1", PORT=str(proxy.port))
    configured(OUTBOX={"listen_using": "proxied"})
    proxy.swallow(also_new=True)
    waker = waker_for(postgres, on_wake=bell)
    waker.start()
    until(lambda: proxy.accepted)
    waker.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("automate-wake")]
    assert bell.rings == 0


@pytest.mark.usefixtures("quick")
def test_where_notifications_do_not_arrive_it_is_polled_until_they_do(
    postgres: str,
    alias: Callable[..., str],
    configured: Callable[..., None],
    bell: Bell,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alias("elsewhere", NAME="postgres")
    configured(OUTBOX={"listen_using": "elsewhere"})
    with started(postgres, bell, "poll") as waker:
        assert "OUTBOX.listen_using 'elsewhere'" in waker.reason
        before = bell.rings
        bell.wait_beyond(before + 2)  # once for every try
        assert [record.levelno for record in caplog.records] == [logging.WARNING], "it complains once"
        connections.settings["elsewhere"]["NAME"] = connections[postgres].settings_dict["NAME"]
        until(lambda: waker.mode == "notify")
        before = bell.rings
        announce()
        bell.wait_beyond(before)


@pytest.mark.usefixtures("quick")
def test_a_pooler_in_transaction_mode_is_seen_through(
    postgres: str, alias: Callable[..., str], configured: Callable[..., None], bell: Bell, pgbouncer: int
) -> None:
    alias("pooled", HOST="127.0.0.1", PORT=str(pgbouncer))
    with started("pooled", bell, "poll") as waker:
        assert "a pooler in transaction mode" in waker.reason
        assert "OUTBOX.listen_using" in waker.reason
        bell.wait_beyond(bell.rings + 2)
        assert waker.mode == "poll", "a proof that succeeds now and then is none"
    configured(OUTBOX={"listen_using": postgres})
    with started("pooled", bell, "notify"), connections["pooled"].cursor() as cursor:
        before = bell.rings
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
        bell.wait_beyond(before)


def test_one_probe_proves_it_to_all(postgres: str, bell: Bell, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    monkeypatch.setattr("automate_outbox.wake.postgres._SILENCE_SECONDS", 0.5)
    given: Any = connections[postgres].get_connection_params()
    with started(postgres, bell, "notify"), psycopg.connect(**given, autocommit=True) as spy:
        spy.execute(f"LISTEN {CHANNEL}")
        before = bell.rings
        (probe,) = spy.notifies(timeout=30, stop_after=1)
        assert probe.payload.startswith("probe:")
        assert bell.rings == before, "a probe is nothing to look for"


# -- what is left behind ----------------------------------------------------------------------------------------------


def test_nothing_is_left_behind(using: str, bell: Bell) -> None:
    def held() -> tuple[int, int, int]:
        gc.collect()
        return threading.active_count(), len(os.listdir(FILES)) if FILES.exists() else 0, len(query(SESSIONS))

    require_database("postgres")
    with started(using, bell, BEST[using]):
        pass
    before = until(lambda: (found := held())[2] == 0 and found)
    waker = waker_for(using, on_wake=bell)
    for round_ in range(50):
        waker.start()
        waker.start()
        if round_ % 2:
            assert waker.wait_for_verdict(30)
        waker.stop()
        waker.stop()
    until(lambda: held() == before)


def test_a_forked_process_begins_anew_and_harms_nobody(using: str, bell: Bell) -> None:
    with started(using, bell, BEST[using]) as waker:
        listeners = query(LISTENERS) if using == "postgres" else []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which is the point
            child = os.fork()
        if child == 0:
            code = 9
            try:
                code = _work_as_a_child(waker, bell)
            finally:
                os._exit(code)  # whatever was raised: as a second pytest it would drop the database of the first
        assert os.waitpid(child, 0)[1] == 0
        assert waker.mode == BEST[using]
        before = bell.rings
        if using == "postgres":
            announce()
            bell.wait_beyond(before)
            until(lambda: query(LISTENERS) == listeners)  # the child's session takes a moment to end
        else:
            ring(using)
            assert bell.rings == before + 1


def _work_as_a_child(waker: Waker, bell: Bell) -> int:
    before = bell.rings
    ring(waker.using)
    if bell.rings != before or waker.mode != "poll" or waker.reason != "not running":
        return 1
    if task := getattr(waker, "_task", None):
        with suppress(ValueError):  # the thread was within it at the fork, so that it ends with the thread
            task.get_coro().close()  # as the collector may, whenever it likes
    waker.start()
    if not waker.wait_for_verdict(30) or waker.mode != BEST[waker.using]:
        return 2
    before = bell.rings
    ring(waker.using)
    if bell.rings == before:
        return 3
    waker.stop()
    del waker
    gc.collect()
    return 0


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "problem"), [("posgres", "'postgres'"), ("default", "only PostgreSQL notifies")])
def test_an_alias_on_which_nothing_can_be_heard_is_refused(
    postgres: str, name: str, problem: str, configured: Callable[..., None]
) -> None:
    assert check_listening() == []
    configured(OUTBOX={"listen_using": name})
    with pytest.raises(ConfigurationError, match=f"OUTBOX.listen_using.*{problem}"):
        waker_for(postgres, on_wake=lambda: None)
    assert [problem.id for problem in check_listening()] == ["automate_outbox.E004"]
