"""The secrets that the installation reads for itself are in the audit log, whenever and wherever it reads them."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest
from automate import _late_entries
from automate.audit import record, record_many
from automate.models import AuditHead, AuditLogEntry, ExecutionRun
from automate.publish import publish
from automate.runtime import Runtime, run_workflow
from automate_core import redaction
from automate_core.errors import SecretAccessDenied, SecretBackendUnavailable
from automate_core.llm import ChatRequest, ChatResult
from automate_core.registry import registry
from automate_core.secrets import aresolve, invalidate, resolve
from automate_core.testing.llm import FakeProvider
from automate_secrets.db import DbBackend
from django.core.signals import request_finished
from django.db import DatabaseError, connection, transaction

pytestmark = pytest.mark.usefixtures("db")

KEY = "the-key-of-the-provider"
REFERENCE = "$env:PROVIDER_KEY"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch, configured: Any) -> Iterator[None]:
    monkeypatch.setenv("PROVIDER_KEY", KEY)
    configured(LLM={"provider": "fake", "prices": {"fake-1": {"input": "1", "output": "2"}}})
    invalidate()
    yield
    invalidate()
    redaction._live.clear()


class Provider(FakeProvider):
    """Reads its key for each call, as the providers of automate-llm do."""

    def complete(self, request: ChatRequest) -> ChatResult:
        resolve(REFERENCE)
        return super().complete(request)


@pytest.fixture
def provider() -> Iterator[Provider]:
    found = Provider()
    registry.add("llm_providers", "fake", lambda config: found)
    yield found
    registry.remove("llm_providers", "fake")


def trail() -> list[tuple[str, str, str]]:
    found = AuditLogEntry.objects.filter(action__startswith="secret.").order_by("pk")
    return [(entry.action, entry.resource, entry.actor) for entry in found]


READ = ("secret.read", f"secret:{REFERENCE}", "installation")


def run(step: dict[str, Any], slug: str = "w") -> ExecutionRun:
    publish({"slug": slug, "trigger": {"type": "manual"}, "steps": [{"id": "f", **step}]})
    execution_id = run_workflow(slug, {})
    Runtime().run_execution(execution_id)
    return ExecutionRun.objects.get(execution_id=execution_id)


def test_the_key_of_a_provider_is_on_record_once_and_not_with_every_call(provider: Provider) -> None:
    step = {"action": "llm.chat", "params": {"prompt": "one two three"}}
    found = run(step)
    run(step, "again")
    assert found.status == "SUCCESS", found.error
    assert len(provider.calls) == 2
    assert trail() == [READ]
    entry = AuditLogEntry.objects.get(action="secret.read")
    assert (entry.tenant, entry.details["reference"], entry.details["run"]) == ("", REFERENCE, str(found.pk))
    assert KEY not in repr(list(AuditLogEntry.objects.values()))
    invalidate()
    run(step, "later")
    assert trail() == [READ] * 2


def test_the_key_of_a_vendors_provider_is_on_record_even_if_the_vendor_cannot_be_reached(configured: Any) -> None:
    pytest.importorskip("openai")
    provider = {"api_key": REFERENCE, "base_url": "http://127.0.0.1:9"}
    prices = {"m": {"input": "1", "output": "2"}}
    configured(LLM={"provider": "openai", "providers": {"openai": provider}, "prices": prices})
    found = run({"action": "llm.chat", "params": {"prompt": "x", "model": "m"}, "retry": {"max_attempts": 1}})
    assert (found.status, trail()) == ("FAILED", [READ])


def test_the_installation_is_refused_a_secret_on_record(configured: Any) -> None:
    configured(SECRETS={"allow": ["$secret:*"]})
    with pytest.raises(SecretAccessDenied):
        resolve(REFERENCE)
    assert trail() == [("secret.denied", f"secret:{REFERENCE}", "installation")]
    assert "SECRETS.allow" in AuditLogEntry.objects.get().details["reason"]


def test_what_is_read_outside_of_a_step_is_on_record_by_which_process() -> None:
    assert resolve(REFERENCE) == KEY
    (entry,) = AuditLogEntry.objects.filter(action="secret.read")
    assert "@" in entry.details["process"]
    assert "run" not in entry.details


def test_what_asynchronous_code_reads_is_on_record() -> None:
    assert asyncio.run(aresolve(REFERENCE)) == KEY
    assert trail() == [READ]


def test_a_blocking_read_within_an_event_loop_is_on_record_after_the_request() -> None:
    async def view() -> str:
        return resolve(REFERENCE)

    assert asyncio.run(view()) == KEY
    assert trail() == []
    _late_entries.write_waiting()
    assert trail() == [READ]


def test_a_read_in_a_transaction_is_on_record_after_it_and_locks_nothing_meanwhile() -> None:
    with transaction.atomic():
        resolve(REFERENCE)
        assert trail() == []
    assert trail() == [READ]


def test_a_read_in_a_transaction_that_is_rolled_back_stays_on_record() -> None:
    def fail() -> None:
        with transaction.atomic():
            resolve(REFERENCE)
            raise RuntimeError("undo it")

    with pytest.raises(RuntimeError):
        fail()
    assert trail() == []
    request_finished.send(sender=None)
    assert trail() == [READ]


def test_a_read_before_there_is_a_database_is_on_record_as_soon_as_there_is_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> None:
        raise DatabaseError("no such table: automate_auditlogentry")

    with monkeypatch.context() as missing:
        missing.setattr(_late_entries, "record_many", away)
        assert resolve(REFERENCE) == KEY
    assert "not on record yet" in caplog.text
    monkeypatch.setenv("OTHER_KEY", "another-key-of-theirs")
    resolve("$env:OTHER_KEY")
    assert trail() == [READ, ("secret.read", "secret:$env:OTHER_KEY", "installation")]


def test_nothing_is_handed_out_where_the_log_was_tampered_with() -> None:
    record("test.done", "test:x", actor="a")
    AuditHead.objects.update(mac="f" * 64)
    for _ in range(2):
        with pytest.raises(SecretBackendUnavailable, match="cannot be recorded"):
            resolve(REFERENCE)
    assert trail() == []
    assert not _late_entries._waiting, "it was not handed out, so there is nothing to be recorded"


def test_the_keys_of_the_log_itself_are_read_without_end_nor_entry(
    monkeypatch: pytest.MonkeyPatch, configured: Any
) -> None:
    monkeypatch.setenv("AUDIT_KEY", base64.b64encode(bytes(range(32))).decode())
    configured(AUDIT={"keys": {"k1": "$env:AUDIT_KEY"}})
    resolve(REFERENCE)
    assert trail() == [READ]
    assert AuditLogEntry.objects.get().key_id == "k1"


def test_a_read_of_what_writes_the_log_waits_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "the-password-of-the-database")

    def record_with_password(entries: Any) -> None:
        resolve("$env:DB_PASSWORD")  # as a database whose password is a secret is connected to
        record_many(entries)

    monkeypatch.setattr(_late_entries, "record_many", record_with_password)
    resolve(REFERENCE)
    _late_entries.write_waiting()
    assert trail() == [READ, ("secret.read", "secret:$env:DB_PASSWORD", "installation")]


def test_the_keys_of_stored_secrets_are_on_record_with_their_setting(
    monkeypatch: pytest.MonkeyPatch, configured: Any
) -> None:
    monkeypatch.setenv("THE_KEK", base64.b64encode(bytes(range(32))).decode())
    configured(SECRETS={"backend": "db", "keys": {"k1": "$env:THE_KEK"}})
    DbBackend().set("API_KEY", "a value to be kept", actor="ann")
    assert sorted(trail()) == [
        ("secret.read", "secret:$env:THE_KEK", "installation"),
        ("secret.set", "secret:$secret:API_KEY", "ann"),
    ]
    assert AuditLogEntry.objects.get(action="secret.read").details["setting"] == "SECRETS.keys['k1']"


def test_a_thread_that_had_no_connection_is_left_without_one() -> None:
    connection.close()
    resolve(REFERENCE)
    assert connection.connection is None
    assert trail() == [READ]
