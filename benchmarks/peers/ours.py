"""Automate itself: real ``automate_worker`` processes over a Django project, with default settings."""

from __future__ import annotations

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

import django
from django.core.management import call_command

django.setup()

from automate.events import emit_event
from automate.publish import publish
from automate_core.outbox import NewJob
from automate_outbox.store import get_store
from django.db import transaction
from project.apps import KIND
from project.automations import EVENT

FLOWS = "BENCH_FLOW" in os.environ
OTHER_STEPS = [{"id": "one", "action": "bench.step", "params": {"value": 1}}]
_PART = 1000


def setup() -> None:
    """Make the tables, and publish the workflow."""
    call_command("migrate", verbosity=0)
    if FLOWS:
        call_command("automate_sync", verbosity=0)
        for number in range(1, int(os.environ.get("BENCH_WORKFLOWS", "1"))):
            publish(
                {
                    "slug": f"other-{number}",
                    "trigger": {"type": "event", "event": f"other.event_{number}"},
                    "steps": OTHER_STEPS,
                }
            )


def fill(count: int) -> None:
    """Put in jobs or events, many in a transaction."""
    store = get_store()
    for start in range(0, count, _PART):
        part = min(_PART, count - start)
        if FLOWS:
            with transaction.atomic():
                for _ in range(part):
                    put(-1)
        else:
            store.add([NewJob(KIND, {"i": -1})] * part)


def put(number: int) -> None:
    """Put in one job or event."""
    if FLOWS:
        emit_event(EVENT, {"i": number, "amount": 250})
    else:
        get_store().add([NewJob(KIND, {"i": number})])


def work(index: str) -> None:
    """Work for ever."""
    call_command("automate_worker")
