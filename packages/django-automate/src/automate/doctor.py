"""Looks whether a project is fit to run automations, and says how to mend what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from automate_core import settings
from automate_core.errors import AutomateError
from automate_core.outbox import JobStatus
from automate_core.redaction import redact_text
from automate_core.registry import registry

if TYPE_CHECKING:
    from automate.models import Workflow, WorkflowVersion

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
        figures: The numbers of the finding, by name, for machines.
    """

    name: str
    level: Literal["ok", "warning", "error"]
    message: str
    remedy: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


def examine(using: str = "default") -> list[Finding]:
    """Look at everything.

    Args:
        using: Alias of the database.

    Returns:
        What was found, in the order in which it should be mended. A look that fails is itself a finding.
    """
    findings: list[Finding] = []
    project = (_settings, _database, _migrations, _plugins, _secrets, _workflows)
    for look in (*project, _switch, _audit, _artifacts, _retention, _outbox, _waking):
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
    if connection.vendor == "postgresql" and (missing := _patience(connection.get_connection_params())):
        yield Finding(
            "database",
            "warning",
            f"a network that swallows packets holds a worker up for many minutes: {', '.join(missing)} not set",
            "DATABASES['default']['OPTIONS'] = {'connect_timeout': 5, 'tcp_user_timeout': 10000}",
        )


def _patience(params: dict[str, Any]) -> list[str]:
    """Name the parameters by which libpq would notice that a server on another machine has gone silent."""
    host = str(params.get("host") or "")
    if not host or host.startswith(("/", "@")) or host in ("localhost", "127.0.0.1", "::1"):
        return []
    missing = [] if params.get("connect_timeout") else ["connect_timeout"]
    if not (params.get("tcp_user_timeout") or params.get("keepalives_idle")):
        missing.append("tcp_user_timeout")
    return missing


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
    from automate.models.workflows import LISTENING

    listening = WorkflowVersion.objects.using(using).select_related("workflow").filter(LISTENING)
    versions = [version for version in listening if version.live]
    live = {(version.workflow.slug, version.hash) for version in versions}
    known = {(version.workflow.slug, version.hash) for version in listening}
    made = [(builder.definition(), known if builder.shadow else live) for builder in definitions.all()]
    stale = [definition.slug for definition, there in made if (definition.slug, definition.hash()) not in there]
    if stale:
        yield Finding("workflows", "warning", f"not published: {', '.join(stale)}", "python manage.py automate_sync")
    for version in listening:
        yield from _rules(version)
    for version in versions:
        for step in version.steps:
            yield from _step(f"{version} step {step['id']!r}", step, version.workflow)
    yield Finding("workflows", "ok", f"{len(versions)} live, {len(listening) - len(versions)} in shadow")


def _rules(version: WorkflowVersion) -> Iterator[Finding]:
    from automate.publish import foreign_dialect
    from automate.runtime.versions import compiled

    if dialect := foreign_dialect(version):
        yield Finding(
            "workflows",
            "warning",
            f"{version} was published when RULES.dialect was {dialect!r}: its rules mean something else now",
            f"Publish it again if that is meant, or set RULES.dialect to {dialect!r}.",
        )
    try:
        compiled(version)
    except AutomateError as error:
        yield Finding("workflows", "error", f"{version}: {error}", "Set RULES back, or publish rules that fit it.")


def _step(where: str, step: dict[str, Any], workflow: Workflow) -> Iterator[Finding]:
    from automate_core.workflow.templates import find_secret_refs

    from automate.policy import ensure_allowed

    looks: list[Callable[[], Any]] = [
        lambda: registry.get_action(step["action"]),
        lambda: ensure_allowed(step["action"], workflow.tenant),
        *(
            lambda ref=ref: _read(ref, workflow.slug, step["action"])
            for _, ref in find_secret_refs(step.get("params", {}))
        ),
    ]
    for look in looks:
        try:
            look()
        except AutomateError as error:
            yield Finding("workflows", "error", f"{where}: {error}", "Mend it before the workflow runs.")


def _read(ref: str, workflow: str, action: str) -> None:
    """Read a secret that a step names, if it may for any tenant; it is on record as read by the installation itself."""
    from automate_core.errors import SecretAccessDenied
    from automate_core.secrets import SecretAccess, resolver

    denials: list[SecretAccessDenied] = []
    # A pattern matches itself, so it can stand for the tenants that it allows.
    for tenant in ("", *(pattern for rule in resolver.config.access for pattern in rule.tenants)):
        try:
            resolver.ensure_permitted(ref, SecretAccess(workflow, action.partition(".")[0], action, tenant))
        except SecretAccessDenied as denial:
            denials.append(denial)
        else:
            resolver.resolve(ref)
            return
    raise denials[0]


def _switch(using: str) -> Iterator[Finding]:
    from automate.policy.switch import current_pause

    if (paused := current_pause()) is not None:
        message = str(paused) if paused.recorded else f"{paused}. The audit log does not have that yet"
        yield Finding("switch", "warning", message, "automate policy resume")


def _audit(using: str) -> Iterator[Finding]:
    from django.db import connections

    from automate.audit import guard

    if guard.is_installed(connections[using]):
        yield Finding("audit", "ok", "the database refuses changes of the audit log")
    elif guard.is_test_database():
        yield Finding("audit", "ok", "a database for tests has no triggers that refuse changes of the audit log")
    else:
        message = "the triggers that refuse changes of the audit log are missing, switched off or others"
        # MySQL may grant nobody on a hosted server the right to make triggers: nothing that could be mended.
        level: Literal["warning", "error"] = "warning" if connections[using].vendor == "mysql" else "error"
        yield Finding("audit", level, message, "python manage.py migrate, by an account that may make triggers")


def _artifacts(using: str) -> Iterator[Finding]:
    from automate_core.errors import ArtifactUnavailable, ConfigurationError

    from automate.artifacts import storage
    from automate.artifacts.files import probe

    try:
        probe()
    except ConfigurationError as error:
        yield Finding("artifacts", "warning", f"values above EXECUTION.inline_bytes are refused: {error}")
    except ArtifactUnavailable as error:
        remedy = "Let workers and web processes write there, or define STORAGES['automate']."
        yield Finding("artifacts", "error", str(error), remedy)
    else:
        yield Finding("artifacts", "ok", f"large values go to {type(storage()).__name__}")


def _retention(using: str) -> Iterator[Finding]:
    from automate.partitions import examine as examine_partitions

    policy = settings.current().retention
    if not policy.enabled:
        remedy = "Set RETENTION.enabled to True, or run 'automate retention' now and then."
        yield Finding("retention", "warning", "RETENTION.enabled is False: history grows without end", remedy)
    state = examine_partitions(using=using)
    for problem in state.problems:
        yield Finding("retention", "warning", problem, "'automate partition events --check' shows the partitions.")
    if policy.enabled and not state.problems:
        kept = f"events {policy.events_days:g} days, runs {policy.runs_days:g} ({policy.failed_runs_days:g} failed)"
        yield Finding("retention", "ok", f"{kept}{', in partitions' if state.partitioned else ''}")


def _outbox(using: str) -> Iterator[Finding]:
    from automate_outbox.gauges import measure

    read = measure(using)
    figures = {
        "due": read.due,
        "waiting": read.waiting,
        "in_hand": read.in_flight,
        "oldest_seconds": round(read.oldest_seconds, 3),
        "dead": read.dead,
        "reaped": read.totals["reaped"],
        "quarantined": read.totals["crashed"],
        "stale_refused": read.totals["stale_refused"],
        "workers": [asdict(worker) for worker in read.alive],
    }
    message = f"{read.due} due, {read.waiting} waiting for their time, {read.in_flight} in hand"
    yield Finding("outbox", "ok", message, figures=figures)
    alive = [f"{worker.worker_id} ({worker.mode}, {worker.wake or 'poll'})" for worker in read.alive]
    yield Finding("workers", "ok", f"{len(alive)} alive{': ' if alive else ''}{', '.join(alive[:5])}")
    if read.oldest_seconds > _LATE.seconds:
        yield Finding(
            "outbox",
            "warning",
            f"the oldest item has been due for {read.oldest_seconds:.0f} seconds: "
            + ("the workers do not keep up" if alive else "no worker runs"),
            "python manage.py automate_worker",
        )
    if read.dead:
        yield Finding("outbox", "warning", f"{read.dead} dead letters", "python manage.py automate dlq list")
    yield from _unhandled(using)


def _unhandled(using: str) -> Iterator[Finding]:
    from automate_outbox.handlers import registered_kinds
    from automate_outbox.models import OutboxJob

    waiting = OutboxJob.objects.using(using).filter(status__in=(JobStatus.PENDING, JobStatus.RETRY))
    unknown = set(waiting.order_by().values_list("kind", flat=True).distinct()) - set(registered_kinds())
    if unknown:
        yield Finding(
            "outbox",
            "warning",
            f"items of kinds that nobody here handles are waiting: {', '.join(sorted(unknown))}",
            "Run a worker of the release that wrote them.",
        )


def _waking(using: str) -> Iterator[Finding]:
    from automate_outbox.wake import diagnose
    from django.db import connections

    mode, reason = diagnose(using)
    if mode == "poll" and connections[using].vendor in ("postgresql", "sqlite"):
        yield Finding("waking", "warning", f"poll: {reason}", "Nothing is lost, but workers find new items later.")
    else:
        yield Finding("waking", "ok", f"{mode}: {reason}" if reason else mode)
