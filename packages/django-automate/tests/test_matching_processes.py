"""What one process publishes, switches off or moves, the worker in another decides by from the next event on."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from automate.events import emit_event
from automate.models import Execution, Workflow
from automate.publish import publish
from automate_core.testing.databases import chosen_database
from automate_outbox.models import OutboxJob
from django.core.management import call_command
from django.db import connection

pytestmark = [pytest.mark.usefixtures("db"), pytest.mark.slow]

HERE = Path(__file__).parent


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start workers in processes of their own."""
    call_command("automate_sync", stdout=io.StringIO())
    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    database = {name: value for name, value in connection.settings_dict.items() if name in names}
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)]),
        "DJANGO_SETTINGS_MODULE": "worker_settings",
        "WORKER_DATABASE": json.dumps({**database, "NAME": str(database["NAME"])}),
        "WORKER_DATABASE_KIND": chosen_database(),
        "WORKER_AUTOMATE": json.dumps({"DECISIONS": {"non_matches": "none"}}),
        "CRASH_LEDGER": str(tmp_path / "ledger"),
    }
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "django", "automate_worker", "--poll", "0.05", "--unsupervised"]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def listen(slug: str, message: str = "x", rule: Any = None, **options: Any) -> int:
    step = {"id": "note", "action": "flow.log", "params": {"message": message}}
    trigger = {"type": "event", "event": "it.happened", **({"rule": rule} if rule is not None else {})}
    return publish({"slug": slug, "trigger": trigger, "steps": [step]}, **options)[0].pk


def settled() -> None:
    deadline = time.monotonic() + 60
    while OutboxJob.objects.exclude(status="COMPLETED").exists():
        assert time.monotonic() < deadline, "the worker does not come to an end"
        time.sleep(0.05)


def ran(tenant: str = "", **payload: Any) -> list[str]:
    """The workflows that an event starts in whichever worker."""
    event_id = emit_event("it.happened", payload, tenant=tenant)
    settled()
    found = Execution.objects.filter(event_id=event_id).values_list("version__workflow__slug", flat=True)
    return sorted(found)


def test_the_next_event_is_decided_by_what_was_committed(workers: Callable[[], Any]) -> None:
    for _ in range(2):
        workers()
    assert ran() == []
    listen("first")
    assert ran() == ["first"]
    listen("second", rule={"==": [{"var": "kind"}, "paid"]})
    assert ran(kind="paid") == ["first", "second"]
    listen("second", rule={"==": [{"var": "kind"}, "sent"]})
    assert ran(kind="paid") == ["first"]
    assert ran(kind="sent") == ["first", "second"]
    Workflow.objects.filter(slug="first").update(enabled=False)
    assert ran(kind="sent") == ["second"]
    listen("third", tenant="a")
    assert ran(kind="sent", tenant="a") == ["second", "third"]
    assert ran(kind="sent", tenant="b") == ["second"]
    third = Workflow.objects.get(slug="third")
    third.tenant = "b"
    third.save()
    assert ran(tenant="a") == []
    assert ran(tenant="b") == ["third"]
    first = Workflow.objects.get(slug="first")
    first.enabled = True
    first.save()
    assert ran() == ["first"]
    Execution.objects.all().delete()
    Workflow.objects.filter(slug="first").delete()
    assert ran() == []


def test_publishing_under_load_loses_no_event_for_what_stays_live(workers: Callable[[], Any]) -> None:
    for _ in range(2):
        workers()
    listen("stays", rule={"==": [{"var": "kind"}, "paid"]})
    listen("changes", "0", {"==": [{"var": "kind"}, "paid"]})
    ran(kind="paid")  # a worker has started
    Execution.objects.all().delete()
    published, emitted, stop = [0], 0, threading.Event()

    def keep_publishing() -> None:
        while not stop.is_set():
            published[0] += 1
            listen("changes", str(published[0]), {"==": [{"var": "kind"}, "paid"]})
            Workflow.objects.filter(slug="switched").update(enabled=published[0] % 2 == 0)
            listen(f"another-{published[0] % 7}", str(published[0]), {"==": [{"var": "kind"}, "none"]})
        connection.close()

    listen("switched")
    publisher = threading.Thread(target=keep_publishing)
    publisher.start()
    try:
        while emitted < 150 or published[0] < 20:
            emit_event("it.happened", {"kind": "paid"})
            emitted += 1
    finally:
        stop.set()
        publisher.join()
    settled()
    rows = Execution.objects.values_list("version__workflow__slug", "event_id")
    assert {slug for slug, _ in rows} <= {"stays", "changes", "switched"}
    for slug in ("stays", "changes"):
        of_each = Counter(event_id for name, event_id in rows if name == slug)
        assert len(of_each) == emitted
        assert set(of_each.values()) == {1}
    assert Execution.objects.filter(version__workflow__slug="changes").values("version").distinct().count() > 1
