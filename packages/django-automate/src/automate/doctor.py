"""Looks whether a project is fit to run automations, and says how to mend what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from automate_core import settings
from automate_core.errors import AutomateError
from automate_core.redaction import redact_text
from automate_core.registry import registry

__all__ = ["Finding", "examine", "unapplied"]

_LATE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: What.
        level: ``ok``, ``warning`` or ``error``.
        message: What was found.
        remedy: What to do about it.
    """

    name: str
    level: Literal["ok", "warning", "error"]
    message: str
    remedy: str = ""


def examine(using: str = "default") -> list[Finding]:
    """Look at everything.

    Args:
        using: Alias of the database.

    Returns:
        What was found, in the order in which it should be mended. A look that fails is itself a finding.
    """
    findings: list[Finding] = []
    for look in (_settings, _database, _migrations, _plugins, _secrets, _workflows, _outbox):
        try:
            findings.extend(look(using))
        except Exception as error:  # noqa: BLE001 - the doctor reports what is broken, it does not break
            findings.append(Finding(look.__name__.strip("_"), "error", redact_text(f"{type(error).__name__}: {error}")))
        if look in (_settings, _migrations) and any(f.level == "error" for f in findings):
            break
    return findings


def _settings(using: str) -> Iterator[Finding]:
    current = settings.current()
    yield Finding("settings", "ok", f"worker mode {current.worker_mode}, lease {current.outbox.lease_seconds:g} s")
    if not current.enabled:
        yield Finding(
            "settings", "warning", "ENABLED is False: nothing runs.", "Set DJANGO_AUTOMATE['ENABLED'] = True."
        )


def _database(using: str) -> Iterator[Finding]:
    from automate_outbox.store import get_store
    from django.db import connections

    connection = connections[using]
    connection.ensure_connection()
    store = type(get_store(using)).__name__
    version = ".".join(str(part) for part in connection.get_database_version())
    yield Finding("database", "ok", f"{connection.display_name} {version}, claims by {store}")
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode")
            mode = cursor.fetchone()[0]
        if mode != "wal":
            yield Finding(
                "database",
                "warning",
                f"SQLite journal mode is {mode!r}: a writer blocks every reader.",
                "DATABASES['default']['OPTIONS'] = {'init_command': 'PRAGMA journal_mode=WAL', "
                "'transaction_mode': 'IMMEDIATE', 'timeout': 20}",
            )


def unapplied(using: str = "default") -> list[str]:
    """Name the migrations of Automate's apps that a database lacks.

    Args:
        using: Alias of the database.
    """
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connections[using])
    ours = ("automate", "automate_outbox", "automate_secrets", "automate_llm", "automate_rag")
    plan = executor.migration_plan([node for node in executor.loader.graph.leaf_nodes() if node[0] in ours])
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def _migrations(using: str) -> Iterator[Finding]:
    missing = unapplied(using)
    if missing:
        yield Finding("migrations", "error", f"not applied: {', '.join(missing)}", "python manage.py migrate")
    else:
        yield Finding("migrations", "ok", "all applied")


def _plugins(using: str) -> Iterator[Finding]:
    broken = [info for info in registry.plugins() if info.state in ("failed", "incompatible")]
    for info in broken:
        yield Finding(
            "plugins",
            "error",
            f"{info.name} of {info.distribution} is {info.state}: {info.reason}",
            "Upgrade or remove the distribution, or block it with PLUGINS.blocked.",
        )
    if not broken:
        yield Finding("plugins", "ok", ", ".join(registry.list_connectors()))


def _secrets(using: str) -> Iterator[Finding]:
    from automate_core.secrets import resolver

    problems = resolver.check()
    for problem in problems:
        yield Finding("secrets", "error", problem)
    if not problems:
        yield Finding("secrets", "ok", f"$secret: is read by {settings.current().secrets.backend!r}")


def _workflows(using: str) -> Iterator[Finding]:
    from automate.builder import definitions
    from automate.models import WorkflowVersion

    versions = list(WorkflowVersion.objects.using(using).select_related("workflow").filter(live=True))
    known = {version.workflow.slug: version.hash for version in versions}
    stale = [b.definition().slug for b in definitions.all() if known.get(b.definition().slug) != b.definition().hash()]
    if stale:
        yield Finding("workflows", "warning", f"not published: {', '.join(stale)}", "python manage.py automate_sync")
    for version in versions:
        for step in version.steps:
            yield from _step(f"{version} step {step['id']!r}", step)
    yield Finding("workflows", "ok", f"{len(versions)} live")


def _step(where: str, step: dict[str, Any]) -> Iterator[Finding]:
    from automate_core.secrets import resolve
    from automate_core.workflow.templates import find_secret_refs

    from automate.policy import ensure_allowed

    looks: list[Callable[[], Any]] = [
        lambda: registry.get_action(step["action"]),
        lambda: ensure_allowed(step["action"]),
        *(lambda ref=ref: resolve(ref) for _, ref in find_secret_refs(step.get("params", {}))),
    ]
    for look in looks:
        try:
            look()
        except AutomateError as error:
            yield Finding("workflows", "error", f"{where}: {error}", "Mend it before the workflow runs.")


def _outbox(using: str) -> Iterator[Finding]:
    from automate_core.outbox import JobStatus
    from automate_outbox.handlers import registered_kinds
    from automate_outbox.models import OutboxJob
    from django.utils import timezone

    rows = OutboxJob.objects.using(using)
    dead = rows.filter(status=JobStatus.FAILED).count()
    waiting = rows.filter(status__in=(JobStatus.PENDING, JobStatus.RETRY))
    yield Finding("outbox", "ok", f"{waiting.count()} waiting, {rows.filter(status=JobStatus.CLAIMED).count()} claimed")
    late = waiting.filter(next_attempt_at__lt=timezone.now() - _LATE).count()
    if late:
        yield Finding(
            "outbox",
            "warning",
            f"{late} have been due for more than {_LATE.seconds} seconds: no worker keeps up, or none runs",
            "python manage.py automate_worker",
        )
    if dead:
        yield Finding(
            "outbox", "warning", f"{dead} dead letters", "Look at them in the admin: Outbox jobs, status FAILED."
        )
    unknown = set(waiting.values_list("kind", flat=True).distinct()) - set(registered_kinds())
    if unknown:
        yield Finding(
            "outbox",
            "warning",
            f"items of kinds that nobody here handles are waiting: {', '.join(sorted(unknown))}",
            "Run a worker of the release that wrote them.",
        )
