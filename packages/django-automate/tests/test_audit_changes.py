"""Every change is on record: who made it, and under which name. The documentation has the same table."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
from typing import Any

import pytest
from audit_log import KEYS
from automate.audit import note_settings, verify
from automate.commands.people import actor
from automate.models import AuditLogEntry, WorkflowVersion
from automate.publish import disable, drop_shadow, enable, promote, publish
from django.core.management import call_command

pytestmark = pytest.mark.usefixtures("db")


def flow(text: str = "x") -> dict[str, Any]:
    step = {"id": "note", "action": "flow.log", "params": {"message": text}}
    return {"slug": "w", "trigger": {"type": "manual"}, "steps": [step]}


def trail() -> list[tuple[str, str, str, str]]:
    columns = ("action", "resource", "actor", "tenant")
    return list(AuditLogEntry.objects.order_by("position").values_list(*columns))


def test_workflows_and_versions() -> None:
    publish(flow("1"), tenant="acme", actor="ann")
    publish(flow("1"), actor="ann")  # which changes nothing
    publish(flow("2"), shadow=True, actor="ben")
    promote("w", actor="cid")
    publish(flow("3"), shadow=True, actor="ben")
    drop_shadow("w", actor="dan")
    disable("w", actor="eve")
    disable("w", actor="eve")  # nor does this
    enable("w", actor="fay")
    assert trail() == [
        ("workflow.published", "workflow:w", "ann", "acme"),
        ("workflow.shadow_published", "workflow:w", "ben", "acme"),
        ("workflow.shadow_promoted", "workflow:w", "cid", "acme"),
        ("workflow.shadow_published", "workflow:w", "ben", "acme"),
        ("workflow.shadow_dropped", "workflow:w", "dan", "acme"),
        ("workflow.disabled", "workflow:w", "eve", "acme"),
        ("workflow.enabled", "workflow:w", "fay", "acme"),
    ]
    first = AuditLogEntry.objects.get(position=1).details
    assert first == {"version": 1, "hash": WorkflowVersion.objects.get(version_num=1).hash}


@pytest.mark.parametrize("command", ["promote", "drop-shadow", "disable"])
def test_commands_say_who_ran_them(command: str) -> None:
    publish(flow("1"))
    publish(flow("2"), shadow=True)
    call_command("automate", "workflows", command, "w", stdout=io.StringIO())
    assert trail()[-1][2] == actor("automate workflows")


def test_pruning_by_hand() -> None:
    call_command("automate", "retention", "--dry-run", stdout=io.StringIO())
    assert trail() == []
    call_command("automate", "retention", stdout=io.StringIO())
    assert trail() == [("retention.forced", "database:default", actor("automate retention"), "")]
    assert AuditLogEntry.objects.get().details["events_days"] == 90


class TestSettings:
    def test_a_worker_records_the_settings_that_govern_where_they_are_others_than_before(self, configured: Any) -> None:
        configured(AUDIT={"keys": {"k1": KEYS["k1"]}}, SECRETS={"allow": ["$secret:A*"]})
        assert note_settings(actor="web@host")
        assert not note_settings(actor="web@host")
        configured(POLICY={"connector_allowlist": ["http"]}, RETENTION={"enabled": False}, AUDIT={"keys": KEYS})
        assert note_settings(actor="other@host")
        first, second = AuditLogEntry.objects.order_by("position")
        assert (first.action, first.actor, first.details["changed"]) == ("policy.changed", "web@host", {})
        assert first.details["settings"]["REFERENCES.allow"] == ["$secret:A*"]
        assert second.details["changed"] == {
            "AUDIT key ids": [["k1"], ["k1", "k2"]],
            "POLICY.connector_allowlist": [["*"], ["http"]],
            "RETENTION.enabled": [True, False],
        }
        assert second.resource != first.resource
        assert KEYS["k1"] not in str(second.details)
        assert verify().intact

    def test_what_governs_nothing_is_not_recorded(self, configured: Any) -> None:
        note_settings(actor="a")
        configured(WORKER={"concurrency": 3})
        assert not note_settings(actor="a")

    @pytest.mark.usefixtures("logging_as_it_was")
    def test_the_worker_command_does_so_at_its_start(self, configured: Any) -> None:
        for _ in range(2):
            call_command("automate_worker", drain=True, verbosity=0)
        assert [entry[0] for entry in trail()] == ["policy.changed"]
        configured(POLICY={"allow_ssrf": True})
        call_command("automate_worker", once=True, verbosity=0)
        assert AuditLogEntry.objects.latest("position").details["changed"] == {"POLICY.allow_ssrf": [False, True]}
        assert trail()[-1][2] == actor("automate_worker")
