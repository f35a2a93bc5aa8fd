"""Dead letters: the items that are FAILED. They are found, grouped by their error, requeued or discarded here.

Whatever is done to dead letters is done in bounded batches, each in a transaction of its own, and is announced within
that transaction by :data:`dead_letters_changed`, so that whoever keeps an audit log writes it or undoes the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from automate_core.errors import NotRegisteredError, OutboxError
from django.db import transaction
from django.dispatch import Signal

from automate_outbox.handlers import get_handler
from automate_outbox.store.dialect import dialect_of
from automate_outbox.store.statements import marks, sql

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from automate_outbox.models import OutboxJob

__all__ = [
    "BATCH",
    "DeadGroup",
    "DeadLetters",
    "Requeued",
    "dead_letters_changed",
    "discard",
    "groups",
    "requeue",
]

_DEAD = "status IN ('FAILED')"
"""The condition of the partial index, letter by letter: SQLite uses it only then, and never for a parameter."""

BATCH = 200
"""Dead letters that one transaction requeues or discards."""

dead_letters_changed = Signal()
"""Sent with ``action`` (``"requeued"`` or ``"discarded"``), ``actor``, ``letters`` (:class:`DeadLetters`), ``ids``,
``tenants`` (whose they are) and ``using`` within the transaction of each batch; an error of a receiver rolls that
back."""

_REVIVE = (
    "UPDATE {table} SET status = 'PENDING', attempts = 0, crashes = 0, last_error = '', fingerprint = '', "
    "completed_at = NULL, next_attempt_at = {now}, lease_owner = '', lease_token = '', lease_expires_at = NULL "
    "WHERE id IN ({ids}) AND status = 'FAILED'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """Which dead letters are meant: those that fit everything that is given; all of them where nothing is.

    Args:
        ids: Their ids.
        kind: Their kind.
        queue: Their queue.
        tenant: Their tenant; empty means those of none.
        fingerprint: The fingerprint of their error.
        error: A text that their error contains, in any case.
        since: They died at this time or later.
        until: They died before this time.

    Raises:
        OutboxError: If a time has no time zone.
    """

    ids: tuple[int, ...] | None = None
    kind: str | None = None
    queue: str | None = None
    tenant: str | None = None
    fingerprint: str | None = None
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        for moment in (self.since, self.until):
            if moment is not None and moment.utcoffset() is None:
                raise OutboxError(f"{moment} has no time zone: give one, for instance {moment.isoformat()}+00:00.")

    @property
    def is_all(self) -> bool:
        """Whether every dead letter is meant."""
        return not self.given()

    def given(self) -> dict[str, Any]:
        """Return what is given, as JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.isoformat() if isinstance(value, datetime) else list(value) if name == "ids" else value
            for name, value in values.items()
            if value is not None
        }

    def rows(self, using: str = "default") -> QuerySet[OutboxJob]:
        """Return the rows, in no particular order: to order them by id, databases walk through all of history.

        Args:
            using: Alias of the database.
        """
        from django.db.models import BooleanField
        from django.db.models.expressions import RawSQL

        from automate_outbox.models import OutboxJob

        lookups = {
            "pk__in": self.ids,
            "kind": self.kind,
            "queue": self.queue,
            "tenant": self.tenant,
            "fingerprint": self.fingerprint,
            "last_error__icontains": self.error,
            "completed_at__gte": self.since,
            "completed_at__lt": self.until,
        }
        wanted = {name: value for name, value in lookups.items() if value is not None}
        dead = RawSQL(_DEAD, [], output_field=BooleanField())  # noqa: S611 - a constant
        return OutboxJob.objects.using(using).filter(dead, **wanted).order_by()


@dataclass(frozen=True, slots=True)
class DeadGroup:
    """Dead letters of one kind that died of the same error.

    Args:
        fingerprint: The fingerprint of the error: numbers, ids and the like do not count.
        kind: Their kind.
        count: How many.
        first_seen: When the first of them died.
        last_seen: When the last of them died.
        sample_id: The newest of them.
        sample_error: Its error.
    """

    fingerprint: str
    kind: str
    count: int
    first_seen: datetime
    last_seen: datetime
    sample_id: int
    sample_error: str


def groups(letters: DeadLetters, limit: int = 50, *, using: str = "default") -> list[DeadGroup]:
    """Group dead letters by kind and error.

    Args:
        letters: Which ones.
        limit: How many groups at the most.
        using: Alias of the database.

    Returns:
        The groups, largest first. Two statements, whatever there is.
    """
    from django.db.models import Count, Max, Min

    found = list(
        letters.rows(using)
        .values("fingerprint", "kind")
        .annotate(count=Count("id"), first=Min("completed_at"), last=Max("completed_at"), sample=Max("id"))
        .order_by("-count", "fingerprint", "kind")[:limit]
    )
    samples = DeadLetters(ids=tuple(row["sample"] for row in found)).rows(using)
    errors = dict(samples.values_list("pk", "last_error"))
    return [
        DeadGroup(
            fingerprint=row["fingerprint"],
            kind=row["kind"],
            count=row["count"],
            first_seen=row["first"],
            last_seen=row["last"],
            sample_id=row["sample"],
            sample_error=errors.get(row["sample"], ""),
        )
        for row in found
    ]


@dataclass(frozen=True, slots=True)
class Requeued:
    """What became of dead letters that were to be requeued.

    Args:
        requeued: How many are due again.
        left: How many stay dead, as the handler of their kind found nothing that they could carry on.
    """

    requeued: int
    left: int


def requeue(
    letters: DeadLetters,
    *,
    actor: str,
    using: str = "default",
    batch: int = BATCH,
    progress: Callable[[int], None] | None = None,
) -> Requeued:
    """Make dead letters due again, with all their attempts.

    The handler of each kind is asked first, in the same transaction (``on_requeue``). No letter is taken up twice by
    one call, even where it dies again meanwhile.

    Args:
        letters: Which ones.
        actor: Who does it, for the audit log.
        using: Alias of the database.
        batch: How many a transaction takes.
        progress: Called after each batch with the number of letters looked at so far.

    Returns:
        How many are due again, and how many could not be.
    """

    def revive(ids: Sequence[int]) -> tuple[int, int]:
        payloads: dict[int, dict[str, Any]] = {}
        rows = list(_locked(letters, ids, using))
        for kind in sorted({row.kind for row in rows}):
            payloads |= _prepared(kind, {row.pk: row.payload for row in rows if row.kind == kind})
        changed = [row for row in rows if row.pk in payloads and payloads[row.pk] != row.payload]
        for row in changed:
            row.payload = payloads[row.pk]
        if changed:
            type(changed[0])._default_manager.using(using).bulk_update(changed, ["payload"])
        if payloads:
            dialect = dialect_of(using)
            dialect.execute(sql(_REVIVE, now=dialect.now, ids=marks(len(payloads))), sorted(payloads))
            dialect.announce()
            revived = {row.pk: row.tenant for row in rows if row.pk in payloads}
            _announce("requeued", actor, letters, revived, using)
        return len(payloads), len(rows) - len(payloads)

    return Requeued(*_in_batches(letters, revive, using, batch, progress))


def discard(
    letters: DeadLetters,
    *,
    actor: str,
    using: str = "default",
    batch: int = BATCH,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Delete dead letters.

    Args:
        letters: Which ones.
        actor: Who does it, for the audit log.
        using: Alias of the database.
        batch: How many a transaction takes.
        progress: Called after each batch with the number of letters looked at so far.

    Returns:
        How many were deleted.
    """

    def delete(ids: Sequence[int]) -> tuple[int, int]:
        found = dict(_locked(letters, ids, using).values_list("pk", "tenant"))
        if found:
            DeadLetters(ids=tuple(found)).rows(using).delete()
            _announce("discarded", actor, letters, found, using)
        return len(found), 0

    return _in_batches(letters, delete, using, batch, progress)[0]


def _in_batches(
    letters: DeadLetters,
    act: Callable[[Sequence[int]], tuple[int, int]],
    using: str,
    batch: int,
    progress: Callable[[int], None] | None,
) -> tuple[int, int]:
    """Walk over the letters that there are now, oldest first; their ids alone are kept in memory.

    Returns:
        How many letters were changed, and how many were left.
    """
    dialect = dialect_of(using)

    def in_transaction(ids: Sequence[int]) -> tuple[int, int]:
        with transaction.atomic(using=using):
            return act(ids)

    found = sorted(letters.rows(using).values_list("pk", flat=True))
    done, left = 0, 0
    for start in range(0, len(found), batch):
        ids = found[start : start + batch]
        changed, kept = dialect.retrying(partial(in_transaction, ids))
        done, left = done + changed, left + kept
        if progress is not None:
            progress(start + len(ids))
    return done, left


def _locked(letters: DeadLetters, ids: Sequence[int], using: str) -> QuerySet[OutboxJob]:
    """Lock what is still dead; whoever requeued or discarded it meanwhile was first."""
    return letters.rows(using).filter(pk__in=ids).order_by("pk").select_for_update()


def _prepared(kind: str, payloads: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    try:
        handler = get_handler(kind)
    except NotRegisteredError:
        return dict(payloads)
    prepared = handler.on_requeue(payloads)
    return {item_id: dict(payload) for item_id, payload in prepared.items() if item_id in payloads}


def _announce(action: str, actor: str, letters: DeadLetters, found: Mapping[int, str], using: str) -> None:
    """Tell which letters were changed; each id comes with the tenant of its letter."""
    dead_letters_changed.send(
        sender=DeadLetters,
        action=action,
        actor=actor,
        letters=letters,
        ids=tuple(sorted(found)),
        tenants=tuple(sorted(set(found.values()))),
        using=using,
    )
