"""How large the tables are, how fast they grow, and what they will come to: estimates that read no table whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from automate_core import settings
from automate_core.ids import uuid7, uuid7_floor
from automate_core.settings import RetentionSettings
from django.apps import apps
from django.db import connections
from django.db.models import AutoField, Field, Max, Model

from automate import retention

__all__ = ["FORECAST_DAYS", "Growth", "Size", "TableSize", "measure"]

FORECAST_DAYS = (30, 90, 365)
"""Days ahead that are forecast."""

APPS = ("automate", "automate_outbox", "automate_secrets", "automate_llm", "automate_rag")
_WINDOWS = (timedelta(days=7), timedelta(days=1), timedelta(hours=1), timedelta(minutes=1))
_MOST_COUNTED = 100_000
_SAMPLE = 1000
_TIMES = ("created_at", "finished_at", "started_at", "at", "expires_at")


@dataclass(frozen=True, slots=True)
class Growth:
    """What a table comes to.

    Args:
        days: From now.
        rows: Rows with the retention of the settings.
        bytes: Bytes with it; None where sizes are not known.
        rows_kept: Rows if nothing were ever pruned.
        bytes_kept: Bytes if nothing were ever pruned.
    """

    days: int
    rows: int
    bytes: int | None
    rows_kept: int
    bytes_kept: int | None


@dataclass(frozen=True, slots=True)
class TableSize:
    """One table.

    Args:
        table: Its name.
        rows: Estimate of its rows.
        bytes: Size with indexes; None where the database does not say.
        rows_per_day: How fast it grew lately; None where rows carry no time.
        window_seconds: How long *lately* is.
        keep_days: How long a row is kept on average; None where it always is.
        forecast: What it comes to; empty where the growth is not known.
    """

    table: str
    rows: int
    bytes: int | None
    rows_per_day: float | None
    window_seconds: int | None
    keep_days: float | None
    forecast: tuple[Growth, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """Every table of Automate.

    Args:
        tables: The tables, the largest first.
        total_bytes: All of them; on SQLite, where it does not say more, the whole database.
        prunable: Rows that retention would delete now, by kind; at most ``prunable_limit`` are counted of each.
        prunable_limit: Where that counting stops.
    """

    tables: tuple[TableSize, ...]
    total_bytes: int
    prunable: dict[str, int]
    prunable_limit: int = _MOST_COUNTED

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def measure(*, using: str = "default", now: datetime | None = None) -> Size:
    """Estimate the size and the growth of every table.

    Args:
        using: Alias of the database.
        now: The time; None takes the present.

    Returns:
        The estimates.
    """
    from django.utils import timezone

    now = now or timezone.now()
    models = [model for app in APPS if apps.is_installed(app) for model in apps.get_app_config(app).get_models()]
    tables = [_table(model, using, now) for model in models if model._meta.managed]
    tables.sort(key=lambda table: (-(table.bytes or 0), -table.rows, table.table))
    known = sum(table.bytes or 0 for table in tables)
    total = known if any(table.bytes is not None for table in tables) else _sqlite_bytes(using)
    return Size(tuple(tables), total, retention.preview(using=using, limit=_MOST_COUNTED))


def _table(model: type[Model], using: str, now: datetime) -> TableSize:
    rows, size = _rows_and_bytes(model, using)
    rate, window = _rate(model, using, now)
    keep = _keep_days(model, using)
    forecast = () if rate is None else tuple(_forecast(rows, size, rate, keep))
    return TableSize(model._meta.db_table, rows, size, rate, window, keep, forecast)


def _forecast(rows: int, size: int | None, per_day: float, keep: float | None) -> Iterator[Growth]:
    of_row = size / rows if size is not None and rows else None
    for days in FORECAST_DAYS:
        kept = rows + per_day * days
        left = kept
        if keep is not None:
            # What is here now and still young enough then, and what comes until then.
            left = min(rows, per_day * max(keep - days, 0)) + per_day * min(days, keep)
        yield Growth(
            days,
            round(left),
            None if of_row is None else round(left * of_row),
            round(kept),
            None if of_row is None else round(kept * of_row),
        )


# -- rows and bytes ---------------------------------------------------------------------------------------------------


def _rows_and_bytes(model: type[Model], using: str) -> tuple[int, int | None]:
    connection, table = connections[using], model._meta.db_table
    name = connection.ops.quote_name(table)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Rows per page as of the last ANALYZE, times the pages of now; -1 is a table that was never analyzed.
            cursor.execute(
                "SELECT SUM(CASE WHEN c.reltuples > 0 THEN c.reltuples / GREATEST(c.relpages, 1) * "
                "pg_relation_size(c.oid) / current_setting('block_size')::int WHEN c.reltuples < 0 THEN NULL "
                "ELSE 0 END), COALESCE(BOOL_OR(c.reltuples <= 0), TRUE), SUM(pg_total_relation_size(c.oid))::bigint "
                "FROM pg_class c WHERE (c.oid = %s::regclass AND c.relkind = 'r') "
                "OR c.oid IN (SELECT relid FROM pg_partition_tree(%s::regclass) WHERE isleaf)",
                [table, table],
            )
            estimate, unsure, size = cursor.fetchone()
        elif connection.vendor == "mysql":
            cursor.execute(
                "SELECT table_rows, table_rows IS NULL, data_length + index_length FROM information_schema.tables "
                "WHERE table_schema = DATABASE() AND table_name = %s",
                [table],
            )
            estimate, unsure, size = cursor.fetchone()
        else:
            cursor.execute(f"SELECT MAX(rowid) - MIN(rowid) + 1 FROM {name}")  # noqa: S608
            estimate, unsure, size = cursor.fetchone()[0], False, _sqlite_bytes(using, table)
        # A small table is counted: it costs nothing, and its estimate is the one that is far off.
        if unsure or (estimate or 0) < _SAMPLE * 10:
            cursor.execute(f"SELECT COUNT(*) FROM (SELECT 1 FROM {name} LIMIT {_MOST_COUNTED}) AS head")  # noqa: S608
            counted = int(cursor.fetchone()[0])
            estimate = max(counted, int(estimate or 0)) if counted == _MOST_COUNTED else counted
    return int(estimate or 0), None if size is None else int(size)


def _sqlite_bytes(using: str, table: str | None = None) -> Any:
    """Return the bytes of a table with its indexes, where this SQLite knows them, or those of the whole database."""
    from django.db import DatabaseError

    with connections[using].cursor() as cursor:
        if table is None:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            return int(cursor.fetchone()[0])
        try:
            cursor.execute(
                "SELECT SUM(pgsize) FROM dbstat WHERE aggregate = TRUE AND name IN "
                "(SELECT name FROM sqlite_master WHERE tbl_name = %s)",
                [table],
            )
            return cursor.fetchone()[0]
        except DatabaseError:  # an SQLite that was built without dbstat
            return None


# -- growth -----------------------------------------------------------------------------------------------------------


def _rate(model: type[Model], using: str, now: datetime) -> tuple[float | None, int | None]:
    """Return rows a day, over the longest of some windows that can be counted quickly, and how long it is."""
    key: Field[Any, Any] = model._meta.pk
    names = {field.name for field in model._meta.fields}
    time = next((name for name in _TIMES if name in names), None)
    for window in _WINDOWS:
        since = now - window
        if key.default is uuid7:
            rows = model._default_manager.using(using).filter(pk__gte=uuid7_floor(since)).order_by()
            count = rows[: _MOST_COUNTED + 1].count()
            if count <= _MOST_COUNTED or window is _WINDOWS[-1]:
                return _per_day(count, window), int(window.total_seconds())
        elif time is not None and isinstance(key, AutoField):
            return _per_day(_numbers_since(model, using, time, since), window), int(window.total_seconds())
    return None, None


def _per_day(count: int, window: timedelta) -> float:
    return round(count / (window / timedelta(days=1)), 1)


def _numbers_since(model: type[Model], using: str, time: str, since: datetime) -> int:
    """Return how many numbers a table gave out since a moment, by halving: rows are in the order of their time."""
    if time == "expires_at":  # of dedupe keys, which carry no other time
        since += timedelta(days=settings.current().events.dedupe_window_days)
    rows = model._default_manager.using(using).order_by()
    last = rows.aggregate(last=Max("pk"))["last"]
    if last is None:
        return 0
    low, high = 0, last + 1
    while low < high:
        middle = (low + high) // 2
        at = rows.filter(pk__gte=middle).exclude(**{time: None}).order_by("pk").values_list(time, flat=True).first()
        if at is None or at >= since:
            high = middle
        else:
            low = middle + 1
    return int(rows.filter(pk__gte=low).count() if last - low < _SAMPLE else last - low + 1)


# -- what is kept -----------------------------------------------------------------------------------------------------


def _keep_days(model: type[Model], using: str) -> float | None:
    """Return how long a row is kept on average, as the latest rows are mixed; None where it is kept for good."""
    policy = settings.current().retention
    if not policy.enabled:
        return None
    name = model._meta.label_lower
    longest = max(policy.events_days, policy.failed_runs_days)
    if name == "automate_outbox.outboxjob":
        done = _share(model, using, status="COMPLETED")
        return done * policy.completed_jobs_hours / 24 + (1 - done) * policy.dead_letters_days
    if name in ("automate.execution", "automate.executionrun", "automate.steprun"):
        return _days_of_runs(policy, using)
    if name == "automate.decision":
        matched = _share(model, using, matched=True)
        return matched * policy.events_days + (1 - matched) * min(policy.non_matches_days, policy.events_days)
    if name == "automate.dedupekey":
        return float(settings.current().events.dedupe_window_days)
    return {"automate.event": policy.events_days, "automate.artifactuse": longest}.get(name)


def _days_of_runs(policy: RetentionSettings, using: str) -> float:
    from automate.models import Execution

    good = _share(Execution, using, status="SUCCESS")
    return good * policy.runs_days + (1 - good) * policy.failed_runs_days


def _share(model: type[Model], using: str, **wanted: Any) -> float:
    """Return how many of the latest rows are of a kind, from 0 to 1; 1 where there are none."""
    rows = list(model._default_manager.using(using).order_by("-pk").values_list(*wanted)[:_SAMPLE])
    return sum(row == tuple(wanted.values()) for row in rows) / len(rows) if rows else 1.0
