"""Rewrapping: every row gets to the active key, whoever is killed, and whoever reads and writes meanwhile."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from automate_core import redaction
from automate_core.errors import SecretBackendUnavailable, SecretNotFoundError
from automate_core.settings import SecretSettings
from automate_secrets import rewrap as rewrap_module
from automate_secrets.changes import SecretVersion, secret_changed
from automate_secrets.db import DbBackend
from automate_secrets.inventory import examine, use_of_keys
from automate_secrets.keys import KeyRing
from automate_secrets.models import Secret
from automate_secrets.rewrap import Rewrapped, rewrap_rows
from django.db import OperationalError, connection

pytestmark = pytest.mark.usefixtures("database")

KEYS = {f"k{fill}": base64.b64encode(bytes([fill] * 32)).decode() for fill in (1, 2, 3)}


def backend(active: str, *key_ids: str) -> DbBackend:
    keys = {key_id: KEYS[key_id] for key_id in key_ids or KEYS}
    return DbBackend(SecretSettings(backend="db", keys=keys, active_key=active))


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    for key in KEYS.values():
        redaction.forget(key)


def fill(old: DbBackend, count: int) -> dict[tuple[str, str], str]:
    """Store secrets of three tenants, two versions each, and return the newest values by tenant and name."""
    expected: dict[tuple[str, str], str] = {}
    for number in range(count):
        tenant, name = ("", "acme", "ACME")[number % 3], f"SECRET_{number}"
        old.set(name, f"first value {number}", tenant=tenant)
        old.set(name, expected.setdefault((tenant, name), f"second value {number}"), tenant=tenant)
    return expected


def assert_reads(reader: DbBackend, expected: dict[tuple[str, str], str]) -> None:
    for (tenant, name), value in expected.items():
        assert reader.get(name, tenant=tenant) == value
        assert reader.get(name, tenant=tenant, version="1") == value.replace("second", "first")


def test_every_row_gets_to_the_active_key_and_the_old_key_can_go() -> None:
    expected = fill(backend("k1"), 7)
    fill(backend("k3"), 2)
    before = {row.pk: bytes(row.ciphertext) for row in Secret.objects.all()}
    seen: list[tuple[int, int]] = []
    done = rewrap_rows(backend("k2").ring, size=5, progress=lambda *now: seen.append(now))
    assert done == Rewrapped(rewrapped=18)
    assert seen == [(5, 18), (10, 18), (15, 18), (18, 18)]
    assert_reads(backend("k2", "k2"), expected)
    for row in Secret.objects.all():
        sealed = 12 + len("first value 0") + 16  # nonce, ciphertext and tag of the shortest value
        assert bytes(row.ciphertext)[-sealed:] == before[row.pk][-sealed:]
        assert row.key_id == "k2"
    assert rewrap_rows(backend("k2").ring) == Rewrapped()


def test_a_row_whose_column_and_header_name_other_keys_is_rewrapped() -> None:
    expected = fill(backend("k1"), 2)
    ring = backend("k2").ring
    Secret.objects.filter(name="SECRET_0").update(key_id="k2")  # by SQL: its header is on k1
    fill(backend("k2"), 1)
    Secret.objects.filter(name="SECRET_0", version__gt=2).update(key_id="k1")  # its header is on k2
    problems = examine(ring).problems
    assert len([problem for problem in problems if "in its header" in problem]) == 4
    assert all("automate secrets rewrap" in problem for problem in problems)
    assert [(use.key_id, use.rows) for use in use_of_keys(ring) if use.rows] == [("k1", 6)]
    assert rewrap_rows(ring) == Rewrapped(rewrapped=6)
    assert examine(ring).problems == []
    assert [(use.key_id, use.rows) for use in use_of_keys(ring) if use.rows] == [("k2", 6)]
    assert_reads(backend("k2", "k2"), expected)


def test_each_batch_is_announced_with_what_it_wrote() -> None:
    fill(backend("k1"), 2)
    heard: list[tuple[str, str, str, list[SecretVersion]]] = []

    def hear(*, action: str, actor: str, versions: list[SecretVersion], key_id: str, **_: Any) -> None:
        assert connection.in_atomic_block
        heard.append((action, actor, key_id, versions))

    secret_changed.connect(hear)
    rewrap_rows(backend("k2").ring, actor="ann", size=3)
    secret_changed.disconnect(hear)
    assert [entry[:3] for entry in heard] == [("rewrapped", "ann", "k2")] * 2
    assert [(one.tenant, one.name, one.version) for _, _, _, versions in heard for one in versions] == [
        ("", "SECRET_0", 1),
        ("", "SECRET_0", 2),
        ("acme", "SECRET_1", 1),
        ("acme", "SECRET_1", 2),
    ]


def test_a_batch_that_cannot_be_announced_is_not_written() -> None:
    fill(backend("k1"), 2)
    heard: list[str] = []

    def fail(*, action: str, **_: Any) -> None:
        heard.append(action)
        raise RuntimeError("the audit log is full")

    secret_changed.connect(fail)
    with pytest.raises(RuntimeError):
        rewrap_rows(backend("k2").ring)
    secret_changed.disconnect(fail)
    assert heard == ["rewrapped"]
    assert set(Secret.objects.values_list("key_id", flat=True)) == {"k1"}


def test_a_deadlock_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(backend("k1"), 2)
    write, failures = rewrap_module._write_once, [OperationalError("deadlock")] * 4

    def flaky(*arguments: Any) -> int:
        if failures:
            raise failures.pop()
        return write(*arguments)

    monkeypatch.setattr(rewrap_module, "_write_once", flaky)
    assert rewrap_rows(backend("k2").ring).rewrapped == 4
    failures += [OperationalError("the database is gone")] * 5
    with pytest.raises(SecretBackendUnavailable, match="OperationalError"):
        rewrap_rows(backend("k3").ring)
    assert not failures


def test_rows_that_cannot_be_decrypted_stay_and_are_named() -> None:
    expected = fill(backend("k1"), 3)
    broken, moved = Secret.objects.order_by("pk")[:2]
    raw = bytearray(broken.ciphertext)
    raw[20] ^= 1
    Secret.objects.filter(pk=broken.pk).update(ciphertext=bytes(raw))
    Secret.objects.filter(pk=moved.pk).update(name="ELSEWHERE")
    del expected["", "SECRET_0"]
    done = rewrap_rows(backend("k2").ring, size=2)
    assert (done.rewrapped, done.overtaken) == (4, 0)
    assert [(row.secret.name, row.key_id) for row in done.refused] == [("SECRET_0", "k1"), ("ELSEWHERE", "k1")]
    assert bytes(Secret.objects.get(pk=broken.pk).ciphertext) == bytes(raw)
    assert_reads(backend("k2", "k2"), expected)


def test_without_the_old_key_nothing_is_lost_and_it_goes_on_with_the_key_back() -> None:
    expected = fill(backend("k1"), 3)
    done = rewrap_rows(backend("k2", "k2").ring)
    assert (done.rewrapped, len(done.refused)) == (0, 6)
    assert "SECRETS.keys does not hold" in done.refused[0].why
    assert rewrap_rows(backend("k2").ring) == Rewrapped(rewrapped=6)
    assert_reads(backend("k2", "k2"), expected)


# -- what is there ----------------------------------------------------------------------------------------------------


def uses(ring: KeyRing) -> list[tuple[str, int, str]]:
    found = [(use.key_id, use.rows, use.state) for use in examine(ring).keys]
    assert found == [(use.key_id, use.rows, use.state) for use in use_of_keys(ring)]
    return found


def test_the_inventory_counts_rows_on_each_key() -> None:
    assert uses(backend("k2", "k1", "k2").ring) == [("k1", 0, "old"), ("k2", 0, "active")]
    fill(backend("k1"), 2)
    fill(backend("k3"), 1)
    assert uses(backend("k2", "k1", "k2").ring) == [("k1", 4, "old"), ("k2", 0, "active"), ("k3", 2, "missing")]
    found = examine(backend("k2", "k1", "k2").ring)
    assert len(found.problems) == 2  # the rows on a missing key are one problem, not one each
    assert "The old key 'k1' still wraps 4 rows. Run: automate secrets rewrap" in found.problems
    assert "The key 'k3', which SECRETS.keys does not hold, wraps 2 rows" in found.problems[1]
    rewrap_rows(backend("k2").ring)
    assert examine(backend("k2", "k1", "k2").ring).problems == []


def test_the_inventory_names_rows_that_were_changed_or_moved() -> None:
    fill(backend("k1"), 4)
    rows = list(Secret.objects.order_by("pk"))
    for one, other in ((rows[0], rows[1]), (rows[2], rows[4])):  # of another version; of another tenant and name
        Secret.objects.filter(pk=one.pk).update(ciphertext=bytes(other.ciphertext))
        Secret.objects.filter(pk=other.pk).update(ciphertext=bytes(one.ciphertext))
    Secret.objects.filter(pk=rows[6].pk).update(key_id="k2")
    Secret.objects.filter(pk=rows[7].pk).update(ciphertext=b"a value in clear")
    found = examine(backend("k1").ring)
    named = [(row.secret.tenant, row.secret.name, row.secret.version) for row in found.refused]
    assert named == [(rows[at].tenant, rows[at].name, rows[at].version) for at in (0, 1, 2, 4, 6, 7)]
    assert "in its column that its key is 'k2', and in its header 'k1'" in found.refused[4].why
    assert "a value in clear" not in str(found.problems)
    assert len(found.problems) == 6


# -- others at the same time ------------------------------------------------------------------------------------------


def in_threads(*works: Callable[[], Any]) -> list[Any]:
    def run(work: Callable[[], Any]) -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(run, work) for work in works]]


def test_two_at_once_share_the_rows_between_them() -> None:
    expected = fill(backend("k1"), 30)
    together = threading.Barrier(2, timeout=60)
    met: dict[int, bool] = {}

    def meet(seen: int, total: int) -> None:
        if not met.setdefault(threading.get_ident(), False):
            met[threading.get_ident()] = True
            together.wait()  # both have begun before either goes on

    def work() -> Rewrapped:
        return rewrap_rows(backend("k2").ring, size=7, progress=meet)

    first, second = in_threads(work, work)
    assert first.rewrapped + second.rewrapped == 60
    assert first.refused == second.refused == []
    assert_reads(backend("k2", "k2"), expected)


def test_of_two_that_read_the_same_rows_one_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fill(backend("k1"), 3)
    read = threading.Barrier(2, timeout=60)
    write = rewrap_module._write

    def write_together(*arguments: Any) -> int:
        read.wait()
        return write(*arguments)

    monkeypatch.setattr(rewrap_module, "_write", write_together)
    first, second = in_threads(*[lambda: rewrap_rows(backend("k2").ring)] * 2)
    assert first.rewrapped + second.rewrapped == first.overtaken + second.overtaken == 6
    assert_reads(backend("k2", "k2"), expected)


def test_a_row_that_is_deleted_or_replaced_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    old = backend("k1")
    fill(old, 3)
    write = rewrap_module._write

    def overtake(*arguments: Any) -> int:
        old.delete("SECRET_0")
        old.set("SECRET_0", "a new beginning")
        return write(*arguments)

    monkeypatch.setattr(rewrap_module, "_write", overtake)
    done = rewrap_rows(backend("k2").ring, size=6)
    monkeypatch.undo()
    assert (done.rewrapped, done.overtaken) == (4, 2)
    assert backend("k2").get("SECRET_0") == "a new beginning"
    assert rewrap_rows(backend("k2").ring) == Rewrapped(rewrapped=1)
    assert backend("k2", "k2").get("SECRET_0") == "a new beginning"


def test_readers_and_writers_never_fail_while_it_goes_on() -> None:
    """Three writers, each with another active key, and two readers, beside two that rewrap to and fro."""
    expected = fill(backend("k1"), 6)
    over = threading.Event()

    def rewrap_until_over() -> int:
        rewrapped = 0
        while not over.is_set():
            for active in ("k2", "k3"):
                done = rewrap_rows(backend(active).ring, size=4)
                assert done.refused == []
                rewrapped += done.rewrapped
                over.wait(0.05)  # SQLite gives its one lock to whoever asks at the right moment
        return rewrapped

    def write(active: str) -> None:
        mine, name = backend(active), f"WRITTEN_{active}"
        for number in range(4):
            assert mine.set(name, f"value {number}") == number + 1
            assert mine.get(name) == f"value {number}"
        assert mine.rotate(name, "the last", keep=2) == 5
        assert mine.set(f"{name}_GONE", "a value") == 1
        assert mine.delete(f"{name}_GONE") == 1
        with pytest.raises(SecretNotFoundError):
            mine.get(f"{name}_GONE")

    def read() -> None:
        for _ in range(4):
            assert_reads(backend("k1"), expected)

    def all_of_it() -> None:
        try:
            in_threads(read, read, *[lambda active=active: write(active) for active in KEYS])
        finally:
            over.set()

    rewrapped = in_threads(rewrap_until_over, rewrap_until_over, all_of_it)[:2]
    assert sum(rewrapped) >= 12
    assert examine(backend("k2").ring).refused == []
    rewrap_rows(backend("k2").ring)
    assert_reads(backend("k2", "k2"), expected)
    assert all(backend("k2", "k2").get(f"WRITTEN_{active}") == "the last" for active in KEYS)


# -- processes --------------------------------------------------------------------------------------------------------

CHILD = """
import json, os, sys

config = json.loads(os.environ["REWRAP"])
if config["database"]["ENGINE"].endswith("mysql"):
    import pymysql
    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()
import django
from django.conf import settings
settings.configure(DATABASES={"default": config["database"]}, INSTALLED_APPS=["automate_secrets"], USE_TZ=True)
django.setup()
from automate_core.settings import SecretSettings
from automate_secrets.changes import secret_changed
from automate_secrets.db import DbBackend
from automate_secrets.rewrap import rewrap_rows

def wait(**_):
    batches.append(1)
    if len(batches) == config["wait_in"]:
        print("waiting", flush=True)
        sys.stdin.read()

batches = []
if config["within"]:
    secret_changed.connect(wait)
ring = DbBackend(SecretSettings(keys=config["keys"], active_key="k2")).ring
done = rewrap_rows(ring, size=config["size"], progress=None if config["within"] else lambda seen, total: wait())
print(done.rewrapped, done.overtaken, len(done.refused), flush=True)
"""


def start(size: int, wait_in: int = 0, within: bool = False) -> subprocess.Popen[str]:
    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    options = {name: connection.settings_dict[name] for name in names if connection.settings_dict.get(name)}
    config = {"database": options, "keys": KEYS, "size": size, "wait_in": wait_in, "within": within}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env={**os.environ, "REWRAP": json.dumps(config, default=str)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str]) -> list[int]:
    out, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    return [int(number) for number in out.split()[-3:]]


@pytest.mark.parametrize(
    ("within", "on_k2"), [(False, 10), (True, 5)], ids=["between two batches", "within the transaction of a batch"]
)
def test_one_that_is_killed_goes_on_where_it_was(within: bool, on_k2: int) -> None:
    expected = fill(backend("k1"), 12)
    child = start(size=5, wait_in=2, within=within)
    assert child.stdout is not None
    assert child.stdout.readline() == "waiting\n"
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert_reads(backend("k2"), expected)  # half is on one key, half on the other, and each is whole
    assert Secret.objects.filter(key_id="k2").count() == on_k2
    assert examine(backend("k2").ring).refused == []
    assert finish(start(size=5)) == [24 - on_k2, 0, 0]
    assert_reads(backend("k2", "k2"), expected)


def test_processes_share_the_rows_between_them() -> None:
    expected = fill(backend("k1"), 40)
    children = [start(size=3) for _ in range(3)]
    done = [finish(child) for child in children]
    assert sum(rewrapped for rewrapped, _, _ in done) == 80
    assert all(refused == 0 for _, _, refused in done)
    assert_reads(backend("k2", "k2"), expected)
