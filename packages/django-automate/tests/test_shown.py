"""Rows hold events as they were given; whoever looks at them sees no secret: in the admin, in commands, in metrics."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from automate.events import emit_event
from automate.models import DedupeKey, Event, Execution, StepRun
from automate.publish import publish
from automate_core.outbox import NewJob
from automate_core.redaction import REDACTED, forget, remember
from automate_outbox.gauges import QueueGauges
from automate_outbox.models import OutboxJob
from automate_outbox.store import get_store
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

pytestmark = pytest.mark.usefixtures("db", "known", "fresh_definitions")

SECRET = "correct-horse-battery"
ENCODED = base64.b64encode(SECRET.encode()).decode()
LOG = {"id": "note", "action": "flow.log", "params": {"message": "x"}}
STYLE = "automate_outbox/admin.css"
BENIGN = {"author": "Ada", "monkey": "Caesar", "keyboard": "qwertz", "max_tokens": 5}


@pytest.fixture
def known() -> Iterator[None]:
    """The process knows a secret."""
    remember(SECRET)
    yield
    forget(SECRET)


@pytest.fixture
def pages() -> Client:
    from django.contrib.auth.models import User

    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def said(client: Client, view: str, *args: Any) -> str:
    """Return a page, which must not hold the secret."""
    response = client.get(reverse(f"admin:{view}", args=args))
    assert response.status_code == 200
    text = response.content.decode()
    assert SECRET not in text
    assert ENCODED not in text
    return text


def emitted() -> str:
    payload = {"note": f"it is {SECRET}", "list": [ENCODED], "password": "hunter2", **BENIGN}
    return emit_event(
        "shop.opened", payload, source=f"https://{SECRET}.example", subject=SECRET, dedupe_key=f"k-{SECRET}"
    )


def test_an_event_is_stored_as_it_came_and_shown_without_secrets(pages: Client) -> None:
    event = Event.objects.get(pk=emitted())
    assert event.payload["note"] == f"it is {SECRET}"
    assert event.subject == SECRET
    text = said(pages, "automate_event_change", event.pk)
    assert all(f"&quot;{name}&quot;: " in text for name in BENIGN)
    assert "Caesar" in text
    assert "hunter2" not in text
    listed = said(pages, "automate_event_changelist")
    assert "shop.opened" in listed
    assert f"https://{REDACTED}.example" in listed


def test_titles_are_redacted_too(pages: Client) -> None:
    event = emit_event(f"shop.{SECRET}", {})
    (item,) = get_store().add([NewJob(f"till.{SECRET}")])
    for kind, key in (("automate_event", event), ("automate_outbox_outboxjob", item)):
        listed = said(pages, f"{kind}_changelist")
        assert REDACTED in listed
        for page in ("change", "history"):
            assert REDACTED in said(pages, f"{kind}_{page}", key)
    assert REDACTED in said(pages, "automate_event_raw", event)
    assert Client().get(reverse("admin:automate_event_raw", args=[event])).status_code == 302


def test_values_without_secrets_can_still_be_chosen(pages: Client) -> None:
    emitted()
    emit_event("shop.closed", {}, source="till")
    listed = said(pages, "automate_event_changelist")
    assert "?source=till" in listed
    assert "?type=shop.closed" in listed
    assert "source=https" not in listed
    assert "shop.closed" in pages.get(reverse("admin:automate_event_changelist"), {"source": "till"}).content.decode()


def test_columns_are_ordered_unless_the_order_would_tell_a_secret(pages: Client) -> None:
    first, second = emitted(), emit_event("shop.closed", {}, source="till", subject="correct-a")
    assert "?o=0" in said(pages, "automate_event_changelist")
    for column in ("3", "-3"):  # the subject
        text = pages.get(reverse("admin:automate_event_changelist"), {"o": column}).content.decode()
        assert text.index(str(second)) < text.index(str(first)), "the newest first, as ever"
    publish({"slug": "b", "steps": [LOG]})
    publish({"slug": "a", "steps": [LOG]})
    text = pages.get(reverse("admin:automate_workflow_changelist"), {"o": "-1"}).content.decode()
    assert text.index(">b</a>") < text.index(">a</a>")


def test_dedupe_keys(pages: Client) -> None:
    emitted()
    assert f"k-{REDACTED}" in said(pages, "automate_dedupekey_changelist")
    said(pages, "automate_dedupekey_change", DedupeKey.objects.get().pk)


def test_an_execution_and_its_steps(pages: Client, actions: Any, work: Any) -> None:
    def echo(text: str) -> dict[str, Any]:
        return {"text": text, **BENIGN}

    actions("echo")(echo)
    step = {"id": "s1", "action": "test.echo", "params": {"text": "{{ event.payload.note }}"}}
    publish({"slug": "echo", "trigger": {"type": "event", "event": "shop.opened"}, "steps": [step]})
    emitted()
    work()
    execution, attempt = Execution.objects.get(), StepRun.objects.get()
    assert execution.context["note"] == f"it is {SECRET}"
    assert (attempt.input, attempt.output["text"]) == ({"text": f"it is {REDACTED}"}, f"it is {REDACTED}")
    for view, key in (("execution", execution.pk), ("executionrun", attempt.run_id), ("steprun", attempt.pk)):
        assert REDACTED in said(pages, f"automate_{view}_change", key) or view == "executionrun"
        said(pages, f"automate_{view}_changelist")


def test_items_of_the_outbox(pages: Client) -> None:
    payload = {"note": SECRET, "list": [{"it": ENCODED}], **BENIGN}
    (pk,) = get_store().add([NewJob("mail.send", payload, queue=f"q-{SECRET}", tenant=SECRET, ordering_key=SECRET)])
    text = said(pages, "automate_outbox_outboxjob_change", pk)
    assert f"q-{REDACTED}" in text
    assert "Caesar" in text
    assert "lease_token" not in text
    assert f"q-{REDACTED}" in said(pages, "automate_outbox_outboxjob_changelist")
    assert OutboxJob.objects.get().payload["note"] == SECRET


def dead_letter() -> int:
    (pk,) = get_store().add([NewJob("mail.send", {"note": SECRET, **BENIGN}, queue=f"q-{SECRET}", tenant=SECRET)])
    # As code of before would have written it, which did not know the secret.
    OutboxJob.objects.filter(pk=pk).update(status="FAILED", last_error=f"no {SECRET}", completed_at=timezone.now())
    return pk


@pytest.mark.parametrize("arguments", [("list",), ("list", "--flat"), ("show", "PK")])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_commands_about_dead_letters(arguments: tuple[str, ...], form: tuple[str, ...]) -> None:
    pk = dead_letter()
    output = io.StringIO()
    given = [str(pk) if argument == "PK" else argument for argument in arguments]
    call_command("automate", "dlq", *given, *form, stdout=output)
    assert SECRET not in output.getvalue()
    assert f"no {REDACTED}" in output.getvalue()
    assert ("Caesar" in output.getvalue()) is (arguments[0] == "show")


def test_labels_of_metrics(configured: Any) -> None:
    configured(METRICS_EXPORT=True, OUTBOX={"metrics_cache_seconds": 0})
    store = get_store()
    for queue in (f"q-{SECRET}", f"q-{ENCODED}", "plain"):
        store.add([NewJob("mail.send", {}, queue=queue), NewJob("mail.send", {}, queue=queue, due=timedelta(hours=1))])
    text = Client().get("/automate/metrics").content.decode()
    assert SECRET not in text
    assert ENCODED not in text
    assert f'automate_outbox_items{{queue="q-{REDACTED}",state="due"}} 2.0' in text
    assert 'automate_outbox_items{queue="plain",state="waiting"} 1.0' in text
    assert text.count(f'automate_outbox_oldest_seconds{{queue="q-{REDACTED}"}}') == 1


def test_queues_whose_names_differ_in_a_secret_are_one_label() -> None:
    from automate.metrics import _by_label

    queues = [QueueGauges(name, 1, 2, 3.0) for name in (f"q-{SECRET}", f"q-{ENCODED}", "plain")]
    assert {label: len(alike) for label, alike in _by_label(queues).items()} == {f"q-{REDACTED}": 2, "plain": 1}


def test_an_error_that_is_cut_within_a_secret() -> None:
    from automate_outbox.store.rows import store_error

    long = "S" + "ecret" * 600
    remember(long)
    try:
        text = store_error(f"{long} " * 20)
    finally:
        forget(long)
    assert text.startswith(REDACTED)
    assert "ecret" not in text


def test_a_run_shows_first_what_it_did_and_its_steps_what_came_of_them(pages: Client, actions: Any, work: Any) -> None:
    def fail() -> None:
        raise ValueError("the printer is out of paper")

    actions("fail")(fail)
    steps = [{**LOG, "id": "note"}, {"id": "print", "action": "test.fail", "needs": ["note"]}]
    publish({"slug": "print", "trigger": {"type": "event", "event": "shop.opened"}, "steps": steps})
    event = emitted()
    work()
    first, second = StepRun.objects.order_by("pk")
    page = said(pages, "automate_executionrun_change", second.run_id)
    assert page.index(reverse("admin:automate_event_change", args=[event])) < page.index("out of paper")
    assert page.index("out of paper") < page.index("Trace id")
    assert page.count("out of paper") == 2, "of the run and of the step"
    rows = said(pages, "automate_steprun_changelist")
    assert rows.index(f"/steprun/{second.pk}/") < rows.index(f"/steprun/{first.pk}/"), "the newest first"
    assert reverse("admin:automate_executionrun_change", args=[second.run_id]) in rows


def test_long_values_are_wrapped_by_the_style_of_every_page(pages: Client) -> None:
    event = emitted()
    assert finders.find(STYLE)
    for view, *key in (("event_changelist",), ("event_change", event), ("event_raw", event)):
        assert STYLE in said(pages, f"automate_{view}", *key)
    assert STYLE in said(pages, "automate_outbox_outboxjob_changelist")
