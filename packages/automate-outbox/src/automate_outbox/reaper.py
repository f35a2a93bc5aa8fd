"""The reaper: gives back what dead workers held, and fails what killed too many of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from automate_core.errors import ConfigurationError, NotRegisteredError
from automate_core.outbox import JobStatus, OutboxItem
from automate_core.outbox.fingerprint import error_fingerprint
from automate_core.redaction import redact_text
from django.db import transaction

from automate_outbox.handlers import get_handler
from automate_outbox.store.dialect import Dialect, dialect_of
from automate_outbox.store.rows import read_items, store_error
from automate_outbox.store.statements import NO_LEASE, Change, sql

__all__ = ["OutboxReaper", "ReapedItem"]

logger = logging.getLogger("automate.outbox")

_BATCH = 100
_EXPIRES, _OWNER, _TOKEN = 11, 12, 13
_EXPIRED = "{claimed} AND lease_expires_at < {cutoff}"
_HELD = "{claimed} AND lease_owner = %s"
_REVIVE = Change(f"status = 'RETRY', crashes = crashes + 1, {NO_LEASE}")
_BURY = "status = 'FAILED', crashes = crashes + 1, completed_at = {now}, last_error = %s, fingerprint = %s, {no_lease}"


class _Lost(NamedTuple):
    """Which claims are lost, as a condition and its value, and what is said of each."""

    condition: str
    value: Any
    report: str


@dataclass(frozen=True, slots=True)
class ReapedItem:
    """An item that was taken from a dead worker.

    Args:
        item: The item as it was last claimed, this crash counted.
        status: RETRY, or FAILED where it will not be tried again.
        error: Why it failed; empty where it did not.
    """

    item: OutboxItem
    status: JobStatus
    error: str = ""


class OutboxReaper:
    """Recovers items whose lease has run out, or whose worker is known to be dead.

    They are due again at once, with one more crash on their account. An item with ``max_crashes`` crashes, or without
    attempts left, is FAILED instead, and the handler of its kind is told in the same transaction.

    Any number of processes may reap at once. Each item is taken by compare and set on its fencing token, so that of a
    reaper and a slow worker exactly one wins; what is finished is never touched.

    Args:
        stale_threshold_seconds: How long after its lease ran out an item is taken away. A live worker renews its
            leases, so 0 is right for it; a loop that never renews may be given more time here.
        using: Alias of the database.
        max_crashes: Crashes before an item is FAILED.

    Raises:
        ConfigurationError: If the threshold is negative or ``max_crashes`` is less than 1.
    """

    def __init__(self, stale_threshold_seconds: float = 0.0, *, using: str = "default", max_crashes: int = 3) -> None:
        if not stale_threshold_seconds >= 0:
            raise ConfigurationError(f"stale_threshold_seconds must not be negative: {stale_threshold_seconds!r}.")
        if max_crashes < 1:
            raise ConfigurationError(f"max_crashes must be at least 1, not {max_crashes!r}.")
        self.stale_threshold_seconds = float(stale_threshold_seconds)
        self.using = using
        self.max_crashes = max_crashes

    @cached_property
    def _dialect(self) -> Dialect:
        return dialect_of(self.using)

    def reap_stale_items(self, owner: str | None = None) -> int:
        """Recover every stale item, or all that a dead worker held.

        Args:
            owner: The dead worker, as in :meth:`reap`.

        Returns:
            How many were taken from their dead workers, the failed ones included.
        """
        return len(self.reap(owner))

    def reap(self, owner: str | None = None) -> list[ReapedItem]:
        """Recover every stale item, or all that a dead worker held, and wake who may take them up.

        An item whose handler raises when told of its death stays as it is, and is tried again by the next reap.

        Args:
            owner: A worker that is known to be dead: what it held is recovered although its leases still hold. Be
                sure, and that nobody else has this name: a live worker would lose its items.

        Returns:
            What was taken from dead workers.
        """
        lost = self._expired() if owner is None else _Lost(sql(_HELD), owner, "Worker %s died over item %s (%s): %s")
        reaped: list[ReapedItem] = []
        seen: set[int] = set()
        while rows := [row for row in self._find(lost, skip=len(seen) - len(reaped)) if row[0] not in seen]:
            seen.update(row[0] for row in rows)
            verdicts = [(row, self._verdict(row)) for row in rows]
            reaped += self._revive(lost, [row for row, error in verdicts if not error])
            reaped += [dead for row, error in verdicts if error and (dead := self._bury(lost, row, error))]
        for one in reaped:
            logger.warning(lost.report, one.item.lease_owner, one.item.id, one.item.kind, one.status)
        if any(one.status is JobStatus.RETRY for one in reaped):
            self._dialect.announce()
        return reaped

    def _expired(self) -> _Lost:
        cutoff, value = self._dialect.after(-self.stale_threshold_seconds)
        return _Lost(sql(_EXPIRED, cutoff=cutoff), value, "The lease of %s on item %s (%s) ran out: %s")

    def _find(self, lost: _Lost, skip: int) -> list[Any]:
        statement = sql(
            "SELECT {columns}, lease_owner, lease_token, last_error FROM {table} WHERE {lost} "
            "ORDER BY lease_expires_at, id LIMIT %s OFFSET %s",
            columns=self._dialect.columns,
            lost=lost.condition,
        )
        return self._dialect.query(statement, [lost.value, _BATCH, skip])

    def _verdict(self, row: Sequence[Any]) -> str:
        """Return why an item must die, or nothing."""
        attempts, max_attempts, crashes, owner, last_error = row[3], row[4], row[5] + 1, row[_OWNER], row[-1]
        if crashes >= self.max_crashes:
            reason = f"crashed: crash {crashes} of at most {self.max_crashes}, the last in worker '{owner}'"
        elif attempts >= max_attempts:
            reason = f"crashed: worker '{owner}' was lost in the last attempt, {attempts} of {max_attempts}"
        else:
            return ""
        return store_error(f"{reason}; the error before: {last_error}" if last_error else reason)

    def _revive(self, lost: _Lost, rows: Sequence[Any]) -> list[ReapedItem]:
        if not rows:
            return []
        condition, params = _fence(lost, rows)
        won = self._dialect.retrying(lambda: self._dialect.update_free(_REVIVE, condition, params))
        return [ReapedItem(self._item(row), JobStatus.RETRY) for row in rows if row[0] in won]

    def _bury(self, lost: _Lost, row: Sequence[Any], error: str) -> ReapedItem | None:
        item = self._item(row)
        text = sql(_BURY, now=self._dialect.now, no_lease=NO_LEASE)
        change = Change(text, [error, error_fingerprint(error)])
        condition, params = _fence(lost, [row])

        def fail() -> bool:
            with transaction.atomic(using=self.using):
                if not self._dialect.update_free(change, condition, params):
                    return False
                _tell_handler(item, error)
                return True

        try:
            won = self._dialect.retrying(fail)
        except Exception as problem:  # noqa: BLE001 - a handler may fail in any way, and only its item shall wait
            reason = redact_text(f"{type(problem).__name__}: {problem}")
            logger.error("Item %s (%s) stays claimed: it cannot be failed yet: %s", item.id, item.kind, reason)
            return None
        return ReapedItem(item, JobStatus.FAILED, error) if won else None

    def _item(self, row: Sequence[Any]) -> OutboxItem:
        lease = (row[_OWNER], row[_TOKEN], self._dialect.read_time(row[_EXPIRES]))
        (item,) = read_items([row], [lease])
        return replace(item, crashes=item.crashes + 1)


def _fence(lost: _Lost, rows: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return the condition that these claims are still the ones that were seen, and still lost."""
    pairs = " OR ".join(["(id = %s AND lease_token = %s)"] * len(rows))
    return f"{lost.condition} AND ({pairs})", [lost.value, *(value for row in rows for value in (row[0], row[_TOKEN]))]


def _tell_handler(item: OutboxItem, error: str) -> None:
    try:
        handler = get_handler(item.kind)
    except NotRegisteredError:
        return
    handler.on_dead(item, error)
