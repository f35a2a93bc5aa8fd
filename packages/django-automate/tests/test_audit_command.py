"""``automate audit``, and the page of the admin."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from audit_log import KEYS, LOG, execute, write
from automate.audit import Anchor, record
from automate.models import AuditLogEntry
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture(autouse=True)
def keyed(configured: Any) -> None:
    configured(AUDIT={"keys": {"k1": KEYS["k1"]}})


def audit(*arguments: str, status: int = 0) -> str:
    out = io.StringIO()
    if not status:
        call_command("automate", "audit", *arguments, stdout=out)
        return out.getvalue()
    with pytest.raises(CommandError) as caught:
        call_command("automate", "audit", *arguments, stdout=out)
    assert caught.value.returncode == status
    return out.getvalue()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


class TestVerify:
    def test_says_what_is_wrong_and_where_and_ends_with_1(self) -> None:
        write()
        assert "6 entries checked: the audit log is as written\nhead: automate-audit-1:6:" in audit("verify")
        assert json.loads(audit("verify", "--json"))["intact"] is True
        execute(f"UPDATE {LOG} SET actor = 'mallory' WHERE position = 3")
        execute(f"DELETE FROM {LOG} WHERE position = 5")
        said = audit("verify", status=1)
        assert "problem: entry 3 is not what was written (edited)\n" in said
        assert "problem: entry 5 is missing before entry 6 (missing)\n" in said
        assert "5 entries checked: the audit log is NOT as written" in said
        report = json.loads(audit("verify", "--json", status=1))
        assert [(finding["position"], finding["kind"]) for finding in report["findings"]] == [
            (3, "edited"),
            (6, "missing"),
        ]
        assert "as written" in audit("verify", "--since-position", "6")

    def test_many_problems_are_counted_and_the_first_shown(self) -> None:
        write(120)
        execute(f"UPDATE {LOG} SET actor = 'mallory'")
        said = audit("verify", status=1)
        assert said.count("problem: entry") == 100
        assert "problem: and 20 more" in said

    def test_holds_a_head_from_elsewhere_against_the_log(self) -> None:
        write(3)
        kept = audit("head").strip()
        write(3)
        assert "as written" in audit("verify", "--head", kept)
        other = str(Anchor(3, "0" * 64))
        assert "(anchor)" in audit("verify", "--head", other, status=1)
        assert "(truncated)" in audit("verify", "--head", str(Anchor(9, "0" * 64)), status=1)
        with pytest.raises(SystemExit):
            audit("verify", "--head", "what is that", status=2)

    def test_an_empty_log(self, configured: Any) -> None:
        assert "the log is empty" in audit("verify", status=1)
        assert audit("head") == f"{Anchor(0, '0' * 64)}\n"
        configured(AUDIT={})
        assert "0 entries checked: the audit log is as written" in audit("verify")


class TestExport:
    def test_writes_lines_of_json_that_can_be_filtered(self) -> None:
        write(4)
        record("secret.denied", "secret:x", actor="run:1", tenant="t1", details={"password": "hunter2-hunter2"})
        exported = lines(audit("export"))
        assert [entry["position"] for entry in exported] == [1, 2, 3, 4, 5]
        assert exported[4]["details"] == {"password": "[REDACTED]"}
        assert exported[4]["previous"] == exported[3]["mac"]
        assert exported[0]["at"].endswith("+00:00")
        for options, positions in (
            (("--tenant", "t1"), [2, 4, 5]),
            (("--action", "secret.*", "--tenant", "t1"), [5]),
            (("--action", "secret."), []),
            (("--action", "workflow.published", "--after", "2"), [3, 4]),
            (("--since", "1h"), [1, 2, 3, 4, 5]),
            (("--until", "1h"), []),
        ):
            assert [entry["position"] for entry in lines(audit("export", *options))] == positions, options

    def test_goes_on_in_a_file_where_it_was_cut_off(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "audit.jsonl"
        write(3)
        audit("export", "--output", str(file))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        audit("export", "--output", str(file), status=1)
        assert "--resume" in capsys.readouterr().err
        with file.open("a") as torn:
            torn.write('{"position": 4, "at": "20')
        write(3)
        audit("export", "--output", str(file), "--resume")
        audit("export", "--output", str(file), "--resume")
        assert [entry["position"] for entry in lines(file.read_text())] == [1, 2, 3, 4, 5, 6]
        audit("export", "--output", str(tmp_path / "new.jsonl"), "--resume")
        assert (tmp_path / "new.jsonl").read_text() == file.read_text()

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (("--resume",), "--output"),
            (("--output", "{folder}/none/x"), "cannot be written"),
            (("--output", "{folder}/other", "--resume"), "no export"),
        ],
    )
    def test_what_it_cannot_write(
        self, options: tuple[str, ...], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "other").write_text("something else\n")
        audit("export", *(option.replace("{folder}", str(tmp_path)) for option in options), status=1)
        assert text in capsys.readouterr().err
        assert (tmp_path / "other").read_text() == "something else\n"

    def test_reads_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from automate.audit import reading

        monkeypatch.setattr(reading, "BATCH", 2)
        write(5)
        assert len(lines(audit("export"))) == 5


class TestList:
    def test_shows_the_newest_first(self) -> None:
        assert audit("list") == "No entries.\n"
        write(4)
        record("a.b", "c:\x1b[31m", actor="eve\nx")
        head, *shown = audit("list").splitlines()
        assert head.split() == ["position", "at", "actor", "action", "resource", "tenant", "details"]
        assert len(shown) == 5
        assert "eve" in shown[0]
        assert "\x1b" not in shown[0]
        assert "workflow.published  workflow:w3  t1 " in shown[1]
        assert len(audit("list", "--limit", "2").splitlines()) == 1 + 2
        found = json.loads(audit("list", "--json", "--actor", "user2", "--resource", "workflow:*"))
        assert [entry["position"] for entry in found] == [3]


def test_reseal_says_that_it_mends_nothing() -> None:
    write(3)
    execute(f"DELETE FROM {LOG} WHERE position = 3")
    execute("UPDATE automate_audithead SET position = 2")
    said = audit("reseal", "--reason", "looked into it")
    assert "--since-position 3 checks what comes" in said
    assert audit("verify", status=1)
    assert "as written" in audit("verify", "--since-position", "3")
    assert json.loads(audit("reseal", "--reason", "again", "--json")) == {"position": 4}


def test_the_admin_shows_the_state_of_each_entry() -> None:
    from django.contrib.auth import get_user_model

    write(2)
    execute(f"UPDATE {LOG} SET actor = 'mallory' WHERE position = 1")
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("admin"))
    listed = client.get(reverse("admin:automate_auditlogentry_changelist")).content.decode()
    assert "CHANGED" in listed
    assert "as written (key k1)" in listed
    filtered = {"action": "workflow.published", "tenant": "t1"}
    assert client.get(reverse("admin:automate_auditlogentry_changelist"), filtered).status_code == 200
    page = reverse("admin:automate_auditlogentry_change", args=[1])
    assert "CHANGED" in client.get(page).content.decode()
    assert client.post(page, {"actor": "x"}).status_code == 403
    assert client.get(reverse("admin:automate_auditlogentry_add")).status_code == 403
    assert client.post(reverse("admin:automate_auditlogentry_delete", args=[1]), {"post": "yes"}).status_code == 403
    entries = AuditLogEntry.objects.order_by("position").values_list("action", flat=True)
    assert list(entries)[2:] == ["access.denied"] * 3


def test_the_list_cuts_long_details_and_json_does_not() -> None:
    record("policy.changed", "policy:1", actor="ann", details={"settings": ["x" * 50] * 20})
    assert len(audit("list").splitlines()[1]) < 300
    assert audit("list").rstrip().endswith("…")
    assert json.loads(audit("list", "--json"))[0]["details"] == {"settings": ["x" * 50] * 20}
