"""One event on its whole way: emitted, decided about, run by a worker through every kind of action, and on record."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from automate_core import redaction
from django.db import connection, transaction
from llm_server import LoopbackLLM, MockAI

from acceptance.conftest import Actions, Configure, Shop

TOKEN = "shop-token-that-nobody-may-see"

WORKFLOW: dict[str, Any] = {
    "slug": "answer-ticket",
    "trigger": {
        "type": "event",
        "event": "ticket.opened",
        "rule": {"and": [{"==": [{"var": "priority"}, "high"]}, {"in": ["password", {"var": "text"}]}]},
    },
    "steps": [
        {
            "id": "articles",
            "action": "http.request",
            "params": {"url": "{{ event.payload.shop }}/articles", "headers": {"X-Token": "$secret:SHOP_TOKEN"}},
        },
        {
            "id": "learn",
            "action": "rag.index",
            "params": {"endpoint": "support", "documents": "{{ steps.articles.output.json }}"},
        },
        {
            "id": "find",
            "action": "rag.query",
            "params": {
                "endpoint": "support",
                "query_text": "{{ event.payload.text }}",
                "top_k": 1,
                "filters": {"lang": "en"},
            },
        },
        {
            "id": "draft",
            "action": "llm.chat",
            "params": {
                "system": "Answer from this article: {{ steps.find.output.documents[0].content }}",
                "prompt": "{{ event.payload.text }}",
                "max_tokens": 50,
            },
        },
        {
            "id": "escalate",
            "action": "flow.log",
            "needs": ["draft"],
            "if": {"==": [{"var": "event.payload.priority"}, "urgent"]},
            "params": {"message": "urgent"},
        },
        {
            "id": "sign",
            "action": "test.sign",
            "needs": ["draft"],
            "params": {"text": "{{ steps.draft.output.text }}"},
            "retry": {"max_attempts": 3, "initial": 0.01, "jitter": False},
        },
        {
            "id": "reply",
            "action": "http.request",
            "needs": ["sign"],
            "params": {
                "method": "POST",
                "url": "{{ event.payload.shop }}/replies",
                "json": {"ticket": "{{ event.payload.id }}", "text": "{{ steps.sign.output }}"},
            },
        },
    ],
    "output": {"reply": "{{ steps.reply.output.json.id }}", "article": "{{ steps.find.output.documents[0].id }}"},
}
ARTICLES = [
    {"id": "a-1", "content": "To reset your password, open the settings.", "metadata": {"lang": "en"}},
    {"id": "a-2", "content": "Passwort vergessen? Password zurücksetzen.", "metadata": {"lang": "de"}},
    {"id": "a-3", "content": "Parcels arrive within three days.", "metadata": {"lang": "en"}},
]


def everything_stored() -> str:
    """Return the contents of every table, as text."""
    rows = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            rows += [str(row) for row in cursor.fetchall()]
    return "\n".join(rows)


@pytest.mark.usefixtures("db", "llm_keys")
def test_from_an_event_to_a_finished_run(
    worker: Callable[..., None],
    configured: Configure,
    actions: Actions,
    shop: Shop,
    mock_ai: MockAI,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from automate.errors import TransientError
    from automate.events import emit_event
    from automate.models import Decision, Execution, ExecutionRun, StepRun
    from automate.publish import publish
    from automate_llm.models import LLMCall
    from automate_outbox.models import OutboxJob

    attempts = []

    @actions("sign")
    def sign(text: str) -> str:
        attempts.append(text)
        if len(attempts) == 1:
            raise TransientError("the pen is empty")
        return f"{text} -- the shop"

    monkeypatch.setenv("AUTOMATE_SHOP_TOKEN", TOKEN)
    configured(
        POLICY={"egress_allow": [shop.host]},
        LLM={"providers": {"openai": {"base_url": mock_ai.openai_url}}},
    )
    shop.answers.update({"/articles": ARTICLES, "/replies": {"id": "r-1", "echo": TOKEN}})
    version, _ = publish(WORKFLOW)
    address = f"http://{shop.host}"
    ticket = {"id": 7, "priority": "high", "text": "How do I reset my password?", "shop": address}

    with transaction.atomic():
        event_id = emit_event("ticket.opened", ticket, dedupe_key="ticket-7")
        other_id = emit_event("ticket.opened", {**ticket, "id": 8, "priority": "low"}, dedupe_key="ticket-8")
    try:
        for _ in range(20):  # a drained worker leaves what is not due yet
            worker()
            if not OutboxJob.objects.exclude(status="COMPLETED").exists():
                break
    finally:
        redaction.forget(TOKEN)

    # Decided
    decisions = {str(decision.event_id): decision for decision in Decision.objects.all()}
    assert {key: decision.matched for key, decision in decisions.items()} == {event_id: True, other_id: False}
    explained = decisions[other_id].explanation
    assert explained is not None
    assert [node["result"] for node in explained["children"][:1]] == [False]

    # Run
    execution = Execution.objects.get()
    assert (execution.version, str(execution.event_id), execution.status) == (version, event_id, "SUCCESS")
    run = ExecutionRun.objects.get()
    assert (run.status, run.outputs, run.error) == ("SUCCESS", {"reply": "r-1", "article": "a-1"}, None)
    assert list(StepRun.objects.values_list("step_id", "attempt", "status")) == [
        ("articles", 1, "SUCCESS"),
        ("learn", 1, "SUCCESS"),
        ("find", 1, "SUCCESS"),
        ("draft", 1, "SUCCESS"),
        ("escalate", 1, "SKIPPED"),
        ("sign", 1, "RETRY"),
        ("sign", 2, "SUCCESS"),
        ("reply", 1, "SUCCESS"),
    ]

    # Done
    answered, replied = shop.requests
    assert answered["headers"]["x-token"] == TOKEN
    draft: Any = StepRun.objects.get(step_id="draft").output
    assert draft["text"]
    assert replied["body"] == {"ticket": 7, "text": f"{draft['text']} -- the shop"}
    assert attempts == [draft["text"]] * 2
    call = LLMCall.objects.get()
    assert (call.status, call.run_id, call.provider) == ("SUCCESS", str(run.id), "openai")
    assert call.cost is not None
    assert 0 < call.cost <= call.reserved

    # And nothing else: the secret is nowhere, and emitting again changes nothing.
    assert TOKEN not in everything_stored()
    assert "$secret:SHOP_TOKEN" in json.dumps(StepRun.objects.get(step_id="articles").input)
    assert emit_event("ticket.opened", ticket, dedupe_key="ticket-7") == event_id
    worker()
    assert (Execution.objects.count(), len(shop.requests)) == (1, 2)


@pytest.mark.usefixtures("db")
def test_a_model_is_called_under_the_policy_of_its_tenant(
    worker: Callable[..., None], configured: Configure, loopback_llm: LoopbackLLM
) -> None:
    from automate.events import emit_event
    from automate.models import AuditLogEntry, ExecutionRun
    from automate.publish import publish
    from automate_llm.models import LLMCall

    configured(POLICY={"tenants": {"acme": {"egress_deny": ["127.0.0.1"]}}})
    step = {"id": "ask", "action": "llm.chat", "params": {"prompt": "Hello!", "max_tokens": 5}}
    publish({"slug": "asks", "trigger": {"type": "event", "event": "ask.now"}, "steps": [step]})
    for tenant in ("acme", "globex"):
        emit_event("ask.now", {}, tenant=tenant)
    for _ in range(3):
        worker()

    runs = {run.execution.tenant: run for run in ExecutionRun.objects.select_related("execution")}
    assert {tenant: run.status for tenant, run in runs.items()} == {"acme": "FAILED", "globex": "SUCCESS"}
    error: Any = runs["acme"].error
    assert error["code"] == "ssrf_blocked"
    assert len(loopback_llm.requests) == 1
    entry = AuditLogEntry.objects.get(action="policy.denied")
    assert (entry.resource, entry.tenant) == ("action:llm.chat", "acme")
    details: Any = entry.details
    assert (details["host"], details["setting"]) == ("127.0.0.1", "POLICY.tenants.acme.egress_deny")
    assert dict(LLMCall.objects.filter(cost__gt=0).values_list("tenant", "attempt")) == {"globex": 1}
    assert LLMCall.objects.get(tenant="acme").cost == 0
