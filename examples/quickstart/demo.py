"""Real GitHub deliveries become events, decisions and finished runs. ``--serve`` keeps the admin open afterwards."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import secrets
import socket
import sys
import time
from pathlib import Path

from tracker import Tracker

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the demo.

    Returns:
        0 where every run ended as it should, else 1.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="keep the admin open and print its address and a login")
    parser.add_argument("--port", type=int, default=8000, help="port of the admin")
    args = parser.parse_args()
    if args.serve and not free(args.port):
        parser.error(f"port {args.port} is in use; take another one: scripts/demo --serve --port {args.port + 1}")
    tracker = Tracker()
    database = HERE / "demo.sqlite3"
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    os.environ["QUICKSTART_TRACKER"] = tracker.address
    os.environ["QUICKSTART_DATABASE"] = str(database)
    os.environ["DJANGO_SETTINGS_MODULE"] = "quickstart.settings"
    sys.path.insert(0, str(HERE))
    try:
        prepare()
        began = time.monotonic()
        feed()
        work()
        good = report(time.monotonic() - began)
    finally:
        tracker.close()
    where_next(args.serve, args.port)
    return 0 if good else 1


def free(port: int) -> bool:
    """Say whether a web server could listen there."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def say(text: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def prepare() -> None:
    """Set the project up: tables, and the workflows of its automations."""
    import django
    from automate import logs
    from django.core.management import call_command

    django.setup()
    logs.configure("simple", verbosity=0)
    say("Creating an SQLite database and publishing the workflows of repo_bot/automations.py")
    call_command("migrate", verbosity=0)
    call_command("automate_sync")


def feed() -> None:
    """Store every delivery and emit its event, both in one transaction."""
    from automate.events import emit_event
    from django.db import transaction
    from repo_bot.models import Delivery

    with gzip.open(HERE / "deliveries.jsonl.gz", "rt", encoding="utf-8") as lines:
        deliveries = [json.loads(line) for line in lines]
    say(f"\nFeeding {len(deliveries)} recorded GitHub deliveries, each in a transaction with the project's own row")
    for number, delivery in enumerate(deliveries, start=1):
        kind = ".".join(filter(None, ("github", delivery["event"], delivery["payload"].get("action"))))
        with transaction.atomic():
            Delivery.objects.create(number=number, name=kind)
            emit_event(kind, delivery["payload"], dedupe_key=f"delivery-{number}", source="github")


def work() -> None:
    """Run a worker until everything has ended, retries included."""
    from automate.models import Execution
    from automate.models.executions import LIVE
    from automate.worker.loop import Worker, WorkerOptions
    from automate_outbox.models import OutboxJob

    say("Working")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        Worker(WorkerOptions.from_settings(poll=0.05)).run(drain=True)
        left = OutboxJob.objects.filter(status__in=("PENDING", "RETRY", "CLAIMED")).count()
        if not left and not Execution.objects.filter(status__in=LIVE).exists():
            return
        time.sleep(0.05)


def report(seconds: float) -> bool:
    """Print what happened."""
    from automate.models import Decision, Event, Execution, StepRun
    from django.db.models import Count

    statuses = dict(Execution.objects.values_list("status").annotate(n=Count("id")).order_by("status"))
    step_statuses = dict(StepRun.objects.values_list("status").annotate(n=Count("id")).order_by("status"))
    matched = Decision.objects.filter(matched=True).count()
    rows = [
        ("events", str(Event.objects.count())),
        ("decisions", f"{Decision.objects.count()} ({matched} matched)"),
        ("runs", ", ".join(f"{n} {status}" for status, n in statuses.items())),
        ("steps", ", ".join(f"{n} {status}" for status, n in step_statuses.items())),
        ("time", f"{seconds:.1f} s, the wait before the retry included"),
    ]
    say()
    for name, value in rows:
        say(f"  {name:<10} {value}")
    say()
    say("  workflow              runs  decisions that did not match")
    for slug, runs, misses in _per_workflow():
        say(f"  {slug:<20} {runs:>5}  {misses:>5}")
    timeline()
    explain_non_match()
    return statuses.keys() == {"SUCCESS"} and "RETRY" in step_statuses and matched < Decision.objects.count()


def _per_workflow() -> list[tuple[str, int, int]]:
    from automate.models import Decision, Execution, Workflow

    return [
        (
            workflow.slug,
            Execution.objects.filter(version__workflow=workflow).count(),
            Decision.objects.filter(version__workflow=workflow, matched=False).count(),
        )
        for workflow in Workflow.objects.all()
    ]


def timeline() -> None:
    """Print the steps of the run that had to be retried."""
    from automate.models import StepRun

    run = StepRun.objects.filter(status="RETRY").order_by("id").first().run
    steps = list(run.steps.all())
    say(f"\nOne run, step by step: {run.execution.version} ({run.pk})")
    for step in steps:
        offset = (step.started_at or step.finished_at) - steps[0].started_at
        detail = (step.error or {}).get("message") or step.reason or json.dumps(step.output)
        say(f"  +{offset.total_seconds():6.3f} s  {step.step_id:<6} #{step.attempt} {step.status:<8} {detail[:80]}")


def explain_non_match() -> None:
    """Print why one workflow stayed quiet."""
    from automate.models import Decision, Event
    from automate.rules import format_explanation

    decision = Decision.objects.filter(matched=False, version__workflow__slug="hot-discussion").first()
    event = Event.objects.get(pk=decision.event_id)
    say(f"\nWhy {decision.version} did not run for {event.type} ({event.pk}):")
    for line in format_explanation(decision.explanation).splitlines():
        say(f"  {line}")


def where_next(serve: bool, port: int) -> None:
    """Say where to look, and serve the admin where that is wanted."""
    say("\nWhere to look next:")
    if not serve:
        say("  scripts/demo --serve                        the same, and the admin with everything to look at")
        say("  examples/quickstart/repo_bot/automations.py the workflows")
        say("  docs/tutorial/first-automation.md           your first automation")
        return
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    password = secrets.token_urlsafe(9)
    get_user_model().objects.create_superuser("demo", password=password)
    say(f"  http://127.0.0.1:{port}/admin/automate/executionrun/   user demo, password {password}")
    os.environ["DJANGO_RUNSERVER_HIDE_WARNING"] = "true"
    say("  Ctrl-C ends it.")
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)


if __name__ == "__main__":
    sys.exit(main())
