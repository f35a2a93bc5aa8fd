"""``automate secrets``: secrets in the database, the keys that encrypt them, and what is audited of both."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from automate.models import AuditLogEntry
from automate_core import redaction
from automate_core.errors import SecretNotFoundError
from automate_secrets.db import DbBackend
from automate_secrets.models import Secret
from django.core.management import CommandError, call_command
from django.utils import timezone

KEYS = {f"k{fill}": base64.b64encode(bytes([fill] * 32)).decode() for fill in (1, 2)}
VALUES = [f"correct-horse-battery-{number}" for number in range(5)]


@pytest.fixture(autouse=True)
def _keys(configured: Any) -> Iterator[None]:
    configured(SECRETS={"backend": "db", "keys": KEYS, "active_key": "k1"})
    yield
    for text in (*KEYS.values(), *VALUES):
        redaction.forget(text)


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a value where the command reads it."""
    return lambda value: monkeypatch.setattr("sys.stdin", io.StringIO(value))


def secrets(*arguments: str, status: int = 0) -> str:
    """Run ``automate secrets`` in this project and return what it prints."""
    out = io.StringIO()
    if status:
        with pytest.raises(CommandError) as caught:
            call_command("automate", "secrets", *arguments, stdout=out)
        assert caught.value.returncode == status
    else:
        call_command("automate", "secrets", *arguments, stdout=out)
    return out.getvalue()


def value(name: str, **options: str) -> str:
    return DbBackend().get(name, **options)


def audited() -> list[tuple[str, str, str, dict[str, Any]]]:
    entries = AuditLogEntry.objects.exclude(actor="set-up").order_by("pk")
    assert all("@" in entry.actor for entry in entries)
    return [(entry.action, entry.resource, entry.tenant, entry.details) for entry in entries]


def fill(count: int) -> None:
    for number in range(count):
        DbBackend().set(f"SECRET_{number}", VALUES[number], actor="set-up")


@pytest.mark.usefixtures("db")
def test_set_list_rotate_and_delete(enter: Any) -> None:
    enter(f"{VALUES[0]}\n")
    assert secrets("set", "API_KEY") == "Stored API_KEY, version 1, encrypted with the key k1.\n"
    enter(VALUES[1])
    assert "version 1" in secrets("set", "API_KEY", "--tenant", "acme")
    enter(f"{VALUES[2]}\r\n")
    assert "version 2" in secrets("rotate", "API_KEY", "--tenant", "acme")
    assert [value("API_KEY"), value("API_KEY", tenant="acme")] == [VALUES[0], VALUES[2]]
    assert value("API_KEY", tenant="acme", version="1") == VALUES[1]
    enter(VALUES[3])
    assert "version 3" in secrets("rotate", "API_KEY", "--tenant", "acme", "--keep", "2")
    with pytest.raises(SecretNotFoundError):
        value("API_KEY", tenant="acme", version="1")

    for age, shown in (({"days": 90, "hours": 1}, "90d"), ({"hours": 5, "minutes": 1}, "5h"), ({"minutes": 7}, "7m")):
        Secret.objects.filter(tenant="").update(created_at=timezone.now() - timedelta(**age))
        assert [line.split() for line in secrets("list").splitlines()] == [
            ["name", "version", "key", "age"],
            ["API_KEY", "@1", "k1", shown],
        ]
    rows = json.loads(secrets("list", "--all-tenants", "--json"))
    places = [(row["tenant"], row["name"], row["version"], row["key_id"]) for row in rows]
    assert places == [("", "API_KEY", 1, "k1"), ("acme", "API_KEY", 3, "k1"), ("acme", "API_KEY", 2, "k1")]
    assert [line.split()[:3] for line in secrets("list", "--all-tenants").splitlines()] == [
        ["tenant", "name", "version"],
        ["-", "API_KEY", "@1"],
        ["acme", "API_KEY", "@3"],
        ["acme", "API_KEY", "@2"],
    ]
    assert "not both" in refused("list", "--tenant", "acme", "--all-tenants")

    assert secrets("delete", "API_KEY", "--tenant", "acme") == "Deleted API_KEY, 2 versions.\n"
    assert secrets("delete", "API_KEY") == "Deleted API_KEY, 1 version.\n"
    assert secrets("list") == "No secrets.\n"
    assert secrets("list", "--json") == "[]\n"
    assert audited() == [
        ("secret.set", "secret:$secret:API_KEY", "", {"versions": [1], "key_id": "k1"}),
        ("secret.set", "secret:$secret:API_KEY", "acme", {"versions": [1], "key_id": "k1"}),
        ("secret.rotated", "secret:$secret:API_KEY", "acme", {"versions": [2], "key_id": "k1"}),
        ("secret.rotated", "secret:$secret:API_KEY", "acme", {"versions": [3], "key_id": "k1"}),
        ("secret.pruned", "secret:$secret:API_KEY", "acme", {"versions": [1]}),
        ("secret.deleted", "secret:$secret:API_KEY", "acme", {"versions": [2, 3]}),
        ("secret.deleted", "secret:$secret:API_KEY", "", {"versions": [1]}),
    ]


NAMES = ["API_KEY_2", "PAYMENT_PROVIDER_API_KEY", "prod/db/password:2024", "token=ab12cd34"]


@pytest.mark.usefixtures("db")
def test_changes_are_told_in_json(enter: Any) -> None:
    whose = {"name": "API_KEY", "tenant": "acme"}
    for action, version in (("set", 1), ("rotate", 2)):
        enter(VALUES[version])
        said = secrets(action, "API_KEY", "--tenant", "acme", "--json")
        assert json.loads(said) == {**whose, "version": version, "key_id": "k1"}
    assert json.loads(secrets("delete", "API_KEY", "--tenant", "acme", "--json")) == {**whose, "deleted": 2}


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("name", NAMES)
def test_the_log_says_which_secret_whatever_its_name(name: str, enter: Any) -> None:
    backend = DbBackend()
    for number in range(2):
        backend.set(name, VALUES[number], tenant="acme", actor="me@host")
    enter(VALUES[2])
    secrets("rotate", name, "--tenant", "acme", "--keep", "2")
    secrets("delete", name, "--tenant", "acme")
    assert [(action, resource) for action, resource, _, _ in audited()] == [
        (f"secret.{action}", f"secret:$secret:{name}") for action in ("set", "set", "rotated", "pruned", "deleted")
    ]
    named = f"secret:$secret:{name}  acme "
    out = io.StringIO()
    call_command("automate", "audit", "list", "--action", "secret.*", stdout=out)
    assert out.getvalue().count(named) == 5
    out = io.StringIO()
    call_command("automate", "audit", "list", "--resource", f"secret:$secret:{name}", stdout=out)
    assert out.getvalue().count(named) == 5


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("name", NAMES)
def test_the_log_says_which_secrets_are_on_another_key_whatever_their_names(name: str, configured: Any) -> None:
    for tenant in ("", "acme"):
        DbBackend().set(name, VALUES[0], tenant=tenant, actor="set-up")
    configured(SECRETS={"backend": "db", "keys": KEYS})  # the last one is the active one
    secrets("rewrap")
    versions = [{"tenant": tenant, "resource": f"secret:$secret:{name}", "version": 1} for tenant in ("", "acme")]
    assert audited() == [("secret.rewrapped", "secrets", "", {"key_id": "k2", "versions": versions})]
    out = io.StringIO()
    call_command("automate", "audit", "list", "--action", "secret.rewrapped", "--json", stdout=out)
    assert json.loads(out.getvalue())[0]["details"]["versions"] == versions


def refused(*arguments: str, status: int = 1) -> str:
    """Run a command that is refused and return what it says to standard error."""
    kept, sys.stderr = sys.stderr, io.StringIO()
    try:
        assert secrets(*arguments, status=status) == ""
        return sys.stderr.getvalue()
    finally:
        sys.stderr = kept


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("action", ["set", "rotate"])
def test_a_value_in_the_command_line_is_refused_and_not_repeated(action: str, enter: Any) -> None:
    enter(VALUES[0])
    for arguments in (("API_KEY", VALUES[1]), ("API_KEY", VALUES[1], "--tenant", "acme")):
        said = refused(action, *arguments, status=2)
        assert "never an argument" in said
        assert VALUES[1] not in said
    assert not Secret.objects.exists()
    assert audited() == []


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("action", ["set", "rotate"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("API_KEY", f"-{VALUES[1]}"),
        ("API_KEY", f"-h{VALUES[1]}"),
        ("API_KEY", f"--{VALUES[1]}"),
        ("API_KEY", f"--value={VALUES[1]}"),
        ("API_KEY", "--value", VALUES[1]),
        ("API_KEY", f"--keep={VALUES[1]}"),
        (f"API_KEY={VALUES[1]}",),
        (f"--API_KEY={VALUES[1]}",),
    ],
)
def test_no_form_of_a_value_among_the_arguments_is_repeated_or_stored(
    action: str, arguments: tuple[str, ...], enter: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(VALUES[0])
    with pytest.raises((CommandError, SystemExit)) as caught:
        call_command("automate", "secrets", action, *arguments)
    status = getattr(caught.value, "returncode", None) or getattr(caught.value, "code", None)
    # Some releases of Python take what is glued to -h for a request for help, which ends with 0.
    assert status == 2 or (status == 0 and arguments[-1].startswith("-h"))
    said = "".join((*capsys.readouterr(), str(caught.value)))
    assert said
    assert VALUES[1] not in said
    assert not Secret.objects.exists()


@pytest.mark.usefixtures("db")
def test_a_value_too_short_to_be_hidden_by_itself_is_told(enter: Any, capsys: pytest.CaptureFixture[str]) -> None:
    enter("12345")
    assert "version 1" in secrets("set", "PIN")
    said = capsys.readouterr().err
    assert "fewer than 6 characters" in said
    assert "12345" not in said


@pytest.mark.usefixtures("db")
def test_a_secret_whose_name_has_an_equals_sign_is_still_rotated(enter: Any) -> None:
    DbBackend().set("OLD=NAME", VALUES[0], actor="set-up")
    enter(VALUES[1])
    assert "version 2" in secrets("rotate", "OLD=NAME")
    enter(VALUES[2])
    assert "version 3" in secrets("set", "OLD=NAME")


@pytest.mark.usefixtures("db")
def test_what_is_refused_says_why(enter: Any, configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(1)
    enter(VALUES[1])
    assert "Did you mean 'SECRET_0'" in refused("rotate", "SECRET_O")
    assert "Did you mean 'SECRET_0'" in refused("delete", "SECRET_O")
    enter("\n")
    assert "empty" in refused("set", "SECRET_0")
    enter(VALUES[1])
    assert "cannot be the name" in refused("set", "a b")
    raw = io.TextIOWrapper(io.BytesIO(VALUES[1].encode() + b"\xff"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", raw)
    said = refused("set", "SECRET_0")
    assert "no text in UTF-8" in said
    assert VALUES[1] not in said
    configured(SECRETS={"backend": "db"})
    enter(VALUES[1])
    assert "SECRETS.keys is empty" in refused("set", "SECRET_0")
    assert sys.stdin.read() == VALUES[1]  # who lacks a key is told before the value is read
    assert audited() == []


@pytest.mark.usefixtures("db")
def test_it_says_where_references_look_instead(enter: Any, configured: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configured(SECRETS={"keys": KEYS})
    enter(VALUES[0])
    secrets("set", "API_KEY")
    assert "SECRETS.backend is 'env', so $secret:API_KEY does not read this" in capsys.readouterr().err


@pytest.mark.usefixtures("db")
def test_rewrap_and_check_step_by_step(configured: Any) -> None:
    fill(3)
    assert secrets("check").splitlines() == [
        "key  state   rows",
        "k1   active     3",
        "k2   old        0",
    ]
    configured(SECRETS={"backend": "db", "keys": KEYS})  # the last one is the active one
    assert "problem: The old key 'k1' still wraps 3 rows. Run: automate secrets rewrap" in secrets("check", status=1)
    assert secrets("rewrap", "--dry-run") == "3 rows on the key k1 to rewrap\n"
    assert json.loads(secrets("rewrap", "--dry-run", "--json"))["left"] == {"k1": 3}
    assert set(Secret.objects.values_list("key_id", flat=True)) == {"k1"}
    assert secrets("rewrap") == "3 rows given to the key k2.\n"
    assert secrets("rewrap", "--dry-run") == "Every row is on the key k2.\n"
    expected = {"dry_run": False, "active_key": "k2", "rewrapped": 0, "overtaken": 0, "refused": [], "left": {}}
    assert json.loads(secrets("rewrap", "--json")) == expected
    configured(SECRETS={"backend": "db", "keys": {"k2": KEYS["k2"]}})
    assert secrets("check") == "key  state   rows\nk2   active     3\n"
    assert [value(f"SECRET_{number}") for number in range(3)] == VALUES[:3]
    assert audited() == [
        (
            "secret.rewrapped",
            "secrets",
            "",
            {
                "key_id": "k2",
                "versions": [
                    {"tenant": "", "resource": f"secret:$secret:SECRET_{number}", "version": 1} for number in range(3)
                ],
            },
        )
    ]


@pytest.mark.usefixtures("db")
def test_an_old_key_that_was_removed_too_early_and_a_row_that_was_changed(configured: Any) -> None:
    fill(2)
    configured(SECRETS={"backend": "db", "keys": {"k2": KEYS["k2"]}})
    said = secrets("check", status=1)
    assert "The key 'k1', which SECRETS.keys does not hold, wraps 2 rows" in said
    assert "Put the key back" in said
    said = secrets("rewrap", status=1)
    assert "0 rows given to the key k2." in said
    assert said.count("refused: ") == 2
    assert "2 rows on the key k1 left" in said
    configured(SECRETS={"backend": "db", "keys": KEYS})
    row = Secret.objects.get(name="SECRET_1")
    Secret.objects.filter(pk=row.pk).update(ciphertext=bytes(row.ciphertext)[:-1] + b"\0")
    found = json.loads(secrets("check", "--json", status=1))
    assert found["refused"][0]["secret"] == {"tenant": "", "name": "SECRET_1", "version": 1}
    assert [(use["key_id"], use["rows"], use["state"]) for use in found["keys"]] == [
        ("k1", 2, "old"),
        ("k2", 0, "active"),
    ]
    # Whether a value can be decrypted is not asked for when its data key alone is given to another key.
    assert json.loads(secrets("rewrap", "--json"))["rewrapped"] == 2
    assert "'SECRET_1' (version 1) cannot be decrypted" in secrets("check", status=1)
    assert value("SECRET_0") == VALUES[0]


@pytest.mark.usefixtures("db")
def test_no_value_is_in_output_logs_or_audit(
    enter: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], configured: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    said = ""
    for number, text in enumerate(VALUES[:3]):
        enter(text)
        said += secrets("set", f"SECRET_{number}")
        enter(text[::-1])
        said += secrets("rotate", f"SECRET_{number}", "--keep", "1")
    row = Secret.objects.get(name="SECRET_0")
    Secret.objects.filter(pk=row.pk).update(name="MOVED")
    configured(SECRETS={"backend": "db", "keys": KEYS})
    said += secrets("check", status=1) + secrets("rewrap", status=1) + secrets("check", "--json", status=1)
    said += secrets("list") + secrets("list", "--json") + secrets("delete", "SECRET_1") + refused("delete", "SECRET_1")
    said += "".join(capfd.readouterr()) + caplog.text + json.dumps(audited())
    for hidden in (*VALUES[:3], *(text[::-1] for text in VALUES[:3]), *KEYS.values()):
        assert hidden not in said
        assert base64.b64encode(hidden.encode()).decode().rstrip("=") not in said
        redaction.forget(hidden)


# -- as people run it -------------------------------------------------------------------------------------------------

PROJECT = f"""
SECRET_KEY = "x"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "automate_outbox", "automate_secrets", "automate"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}}}
import os
DJANGO_AUTOMATE = {{"SECRETS": {{"backend": "db", "keys": {KEYS}, "active_key": os.environ.get("ACTIVE", "k1")}}}}
"""
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite_settings")
execute_from_command_line(sys.argv)
"""


def test_on_a_terminal_the_prompt_does_not_echo_and_progress_shows(tmp_path: Path) -> None:
    (tmp_path / "mysite_settings.py").write_text(PROJECT)
    (tmp_path / "manage.py").write_text(MANAGE)
    environment = {name: text for name, text in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    given: dict[str, Any] = {"cwd": tmp_path, "env": environment, "timeout": 120, "text": True}
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], check=True, **given)

    automate = [sys.executable, "-m", "automate_core", "secrets"]
    with on_a_terminal([*automate, "set", "API_KEY"], tmp_path, environment) as (terminal, child):
        shown = read_until(terminal, b"Value of API_KEY: ")  # getpass has switched the echo off before it asks
        os.write(terminal, f"{VALUES[0]}\n".encode())
        shown += read_until(terminal, b"with the key k1.")
        assert child.wait(120) == 0
    assert VALUES[0].encode() not in shown
    assert VALUES[0].encode() not in (tmp_path / "db.sqlite3").read_bytes()

    with on_a_terminal([*automate, "rewrap"], tmp_path, {**environment, "ACTIVE": "k2"}) as (terminal, child):
        assert b"rewrap: 1 of 1\r\n1 row given to the key k2." in read_until(terminal, b"key k2.")
        assert child.wait(120) == 0

    check = [sys.executable, "manage.py", "automate", "secrets", "check"]
    given["env"] = {**environment, "ACTIVE": "k2"}
    done = subprocess.run(check, check=False, capture_output=True, **given)
    assert (done.returncode, done.stdout.splitlines()[2:]) == (0, ["k2   active     1"])
    assert done.stderr == ""


@contextmanager
def on_a_terminal(
    command: list[str], folder: Path, environment: dict[str, str]
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Start a command on a terminal of its own, and give the other end."""
    terminal, end = pty.openpty()
    child = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=end, stdout=end, stderr=end, start_new_session=True
    )
    os.close(end)
    try:
        yield terminal, child
    finally:
        child.kill()
        child.wait()
        os.close(terminal)


def read_until(terminal: int, text: bytes) -> bytes:
    """Read what is shown up to a text."""
    shown = b""
    while text not in shown:
        shown += os.read(terminal, 1024)  # raises where the command has ended without it
    return shown
