"""How claims end, and how they are kept: many at once, each under its own fencing token."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any

from automate_core.errors import ConfigurationError, OutboxError
from automate_core.outbox import Claims, JobStatus, OutboxStore
from automate_core.outbox.fingerprint import error_fingerprint
from django.db import transaction

from automate_outbox.store.dialect import dialect_of
from automate_outbox.store.lane_dialect import LaneDialect
from automate_outbox.store.leases import HeldLeases
from automate_outbox.store.rows import check_moment, store_error
from automate_outbox.store.statements import CLAIMED, NO_LEASE, Change, marks, sql

__all__ = ["MOST", "ClaimEndings"]

MOST = 1000
"""Items whose claims end in one statement."""
_COMPLETE = "status = 'COMPLETED', completed_at = {now}, lease_owner = '', lease_expires_at = NULL"
_WITHDRAW = "UPDATE {table} SET status = 'COMPLETED', completed_at = {now}, {no_lease} WHERE id IN ({ids})"
_UNFINISHED = "status IN ('PENDING', 'RETRY', 'CLAIMED')"
_LAST = "attempts >= max_attempts"
# MySQL assigns from left to right and reads what it has just written: status comes before attempts.
_RELEASE = (
    "status = CASE WHEN attempts > 1 THEN 'RETRY' ELSE 'PENDING' END, "
    "attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END, " + NO_LEASE
)
_RETRY = (
    "status = CASE WHEN {last} THEN 'FAILED' ELSE 'RETRY' END, completed_at = CASE WHEN {last} THEN {now} END, "
    "next_attempt_at = {due}, last_error = {error}, fingerprint = CASE WHEN {last} THEN {key} ELSE '' END, {no_lease}"
)
_FAIL = "status = 'FAILED', completed_at = {now}, last_error = {error}, fingerprint = {key}, {no_lease}"
_RESCHEDULE = "status = 'PENDING', attempts = 0, crashes = 0, next_attempt_at = {due}, {no_lease}"


class ClaimEndings(OutboxStore):
    """The part of a store that writes to claimed rows.

    Args:
        lease_seconds: How long a claim holds without being renewed.
        using: Alias of the database.

    Raises:
        ConfigurationError: If ``lease_seconds`` is not positive.
    """

    def __init__(self, lease_seconds: float = 30.0, *, using: str = "default") -> None:
        if not lease_seconds > 0:
            raise ConfigurationError(f"lease_seconds must be positive, not {lease_seconds!r}.")
        self.lease_seconds = float(lease_seconds)
        self.using = using
        self._leases = HeldLeases(keep_seconds=max(3600.0, 10 * self.lease_seconds))

    @cached_property
    def _dialect(self) -> LaneDialect:
        return self._choose_dialect()

    def _choose_dialect(self) -> LaneDialect:
        return dialect_of(self.using)

    # -- the end of claims ------------------------------------------------------------------------------------------

    def mark_success_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Complete items, in one statement; a completed row keeps the token under which it was completed.

        Args:
            claims: The items.
            worker_id: Who claimed them.

        Returns:
            The ids whose claim was lost.
        """
        given, held = self._held(claims, worker_id)
        return given - {row[0] for row in self._end(held, worker_id, lambda _: self._completion)}

    @cached_property
    def _completion(self) -> Change:
        return Change(sql(_COMPLETE, now=self._dialect.now))

    def mark_failed_many(self, claims: Claims, worker_id: str, errors: Mapping[int, str]) -> set[int]:
        """Fail items for good, in one statement.

        Args:
            claims: The items.
            worker_id: Who claimed them.
            errors: Why, by id; redacted and shortened before it is written.

        Returns:
            The ids whose claim was lost.

        Raises:
            OutboxError: If an id has no entry; nothing was written.
        """
        given, held = self._held(claims, worker_id)
        texts = {item_id: store_error(_entry(errors, item_id, "errors")) for item_id in given}

        def change(ids: Sequence[int]) -> Change:
            return self._change(_FAIL, ids, error=texts, key=_fingerprints(texts))

        return given - {row[0] for row in self._end(held, worker_id, change)}

    def mark_retry_many(
        self, claims: Claims, worker_id: str, retries: Mapping[int, tuple[datetime | timedelta, str]]
    ) -> dict[int, JobStatus]:
        """Give items back to be tried again, or fail those whose attempts are used up.

        Args:
            claims: The items.
            worker_id: Who claimed them.
            retries: By id: not before which time (a timedelta counts from the database's now), and why; the reason is
                redacted and shortened before it is written.

        Returns:
            RETRY or FAILED by id; an id that is missing was lost.

        Raises:
            OutboxError: If a time is a datetime without a time zone, or an id has no entry; nothing was written.
        """
        given, held = self._held(claims, worker_id)
        dues = {item_id: _entry(retries, item_id, "retries")[0] for item_id in given}
        _check_moments("next_attempt", dues)
        texts = {item_id: store_error(retries[item_id][1]) for item_id in given}

        def change(ids: Sequence[int]) -> Change:
            return self._change(_RETRY, ids, due=dues, error=texts, key=_fingerprints(texts))

        return {item_id: JobStatus(status) for item_id, status in self._end(held, worker_id, change, "id, status")}

    def release_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Hand items back untouched: the attempt is not charged, and any worker may claim them at once.

        Args:
            claims: The items.
            worker_id: Who claimed them.

        Returns:
            The ids whose claim was lost.
        """
        given, held = self._held(claims, worker_id)
        return given - {row[0] for row in self._end(held, worker_id, lambda _: Change(_RELEASE))}

    def reschedule_many(self, claims: Claims, worker_id: str, dues: Mapping[int, datetime | timedelta]) -> set[int]:
        """Hand items back for a wait that was planned: PENDING again, with no attempts and no crashes on their account.

        Args:
            claims: The items.
            worker_id: Who claimed them.
            dues: By id: not before which time; a timedelta counts from the database's now.

        Returns:
            The ids whose claim was lost.

        Raises:
            OutboxError: If a time is a datetime without a time zone, or an id has no entry; nothing was written.
        """
        given, held = self._held(claims, worker_id)
        wanted = {item_id: _entry(dues, item_id, "dues") for item_id in given}
        _check_moments("due", wanted)
        return given - {
            row[0] for row in self._end(held, worker_id, lambda ids: self._change(_RESCHEDULE, ids, due=wanted))
        }

    def withdraw_many(self, item_ids: Sequence[int]) -> set[int]:
        """Complete items that nobody shall handle any more, whoever holds them: their claims are lost.

        Args:
            item_ids: The items; those that have ended stay as they are.

        Returns:
            The ids of those that had not ended.
        """
        ids, withdrawn = sorted(item_ids), set[int]()
        for start in range(0, len(ids), MOST):
            withdrawn |= self._dialect.retrying(partial(self._withdraw, ids[start : start + MOST]))
        return withdrawn

    def _withdraw(self, ids: Sequence[int]) -> set[int]:
        with transaction.atomic(using=self.using):
            # Locked in one order; MySQL returns no rows from an UPDATE.
            live = sql(
                "SELECT id FROM {table} WHERE id IN ({ids}) AND {unfinished} ORDER BY id{lock}",
                ids=marks(len(ids)),
                unfinished=_UNFINISHED,
                lock=self._dialect.lock,
            )
            found = [row[0] for row in self._dialect.query(live, ids)]
            if found:
                self._dialect.execute(sql(_WITHDRAW, now=self._dialect.now, ids=marks(len(found))), found)
        return set(found)

    # -- live claims ------------------------------------------------------------------------------------------------

    def renew_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Extend leases by their full time from now, in one statement.

        Args:
            claims: The items.
            worker_id: Who claimed them.

        Returns:
            The ids whose claim was lost.
        """
        given, held = self._held(claims, worker_id)
        expires, seconds = self._dialect.after(self.lease_seconds)
        change = Change(f"lease_expires_at = {expires}", [seconds])
        kept = {row[0] for row in self._write(held, worker_id, lambda _: change)}
        self._forget_lost(held, kept, worker_id)
        self._leases.touch({item_id: held[item_id] for item_id in kept}, worker_id)
        return given - kept

    def hold_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Fence a checkpoint: nobody takes these claims away until the caller's transaction ends. Writes nothing.

        Args:
            claims: The items.
            worker_id: Who claimed them.

        Returns:
            The ids whose claim was lost.

        Raises:
            OutboxError: If there is no transaction around it.
        """
        if not self._dialect.connection.in_atomic_block:
            raise OutboxError("hold_many() holds until a transaction ends: call it within transaction.atomic().")
        given, held = self._held(claims, worker_id)
        live: set[int] = set()
        for part in _parts(held):
            live |= self._dialect.matching(part, f"{CLAIMED} AND lease_owner = %s", [worker_id], lock=True)
        self._forget_lost(held, live, worker_id)
        return given - live

    def completed_by(self, claims: Mapping[int, str]) -> set[int]:
        """Tell which items were completed under exactly these claims, for a caller whose COMMIT had no answer.

        Args:
            claims: Ids with the tokens of their claims.

        Returns:
            The ids that are COMPLETED under that token.
        """
        found: set[int] = set()
        for part in _parts(_well_formed(claims)):
            found |= self._dialect.matching(part, "status = 'COMPLETED'", [])
        return found

    # -- behind them ------------------------------------------------------------------------------------------------

    def _held(self, claims: Claims, worker_id: str) -> tuple[set[int], dict[int, str]]:
        """Return the ids that a call names, and the tokens of those for which there is one."""
        if not isinstance(claims, Mapping):
            given = set(claims)
            return given, self._leases.tokens(given, worker_id)
        unknown = [item_id for item_id, token in claims.items() if not token]
        return set(claims), _well_formed({**claims, **self._leases.tokens(unknown, worker_id)})

    def _change(self, template: str, ids: Sequence[int], **columns: Mapping[int, Any]) -> Change:
        """Return a change whose values differ by item, in the order in which the template names them."""
        parts: dict[str, str] = {"last": _LAST, "now": self._dialect.now, "no_lease": NO_LEASE}
        params: list[Any] = []
        for name, values in columns.items():
            cases = []
            for item_id in ids:
                value = values[item_id]
                text, param = ("%s", value) if isinstance(value, str) else self._dialect.moment(value)
                cases.append(f"WHEN %s THEN {text}")
                params += [item_id, param]
            parts[name] = f"CASE id {' '.join(cases)} END"
        return Change(template.format_map(parts), params)

    def _end(
        self, held: Mapping[int, str], worker_id: str, change: Callable[[list[int]], Change], answer: str = "id"
    ) -> list[Any]:
        rows = self._write(held, worker_id, change, answer)
        self._settle(held, {row[0] for row in rows}, worker_id)
        return rows

    def _write(
        self, held: Mapping[int, str], worker_id: str, change: Callable[[list[int]], Change], answer: str = "id"
    ) -> list[Any]:
        """Change live claims under their tokens."""
        rows: list[Any] = []
        for part in _parts(held):
            write = partial(self._dialect.change_claimed, part, worker_id, change(list(part)), answer)
            rows += self._dialect.retrying(write)
        return rows

    def _settle(self, held: Mapping[int, str], ended: set[int], worker_id: str) -> None:
        """Forget the claims that ended and those that were lost."""
        self._ended(ended)
        self._forget_lost(held, ended, worker_id)
        # A rollback makes the claims live again, so their tokens are kept until the commit.
        gone = {item_id: held[item_id] for item_id in ended}
        self._dialect.when_committed(lambda: self._leases.forget(gone, worker_id))

    def _forget_lost(self, held: Mapping[int, str], live: set[int], worker_id: str) -> None:
        if len(live) < len(held):
            lost = {item_id: token for item_id, token in held.items() if item_id not in live}
            self._leases.forget(lost, worker_id)

    def _ended(self, item_ids: Iterable[int]) -> None:
        """Note that claims have ended."""


def _parts(held: Mapping[int, str]) -> Iterable[Mapping[int, str]]:
    """Yield what fits one statement: SQLite and PostgreSQL bound the number of parameters."""
    if len(held) <= MOST:
        return [held] if held else []
    pairs = iter(held.items())
    return iter(lambda: dict(itertools.islice(pairs, MOST)), {})


def _well_formed(claims: Mapping[int, str]) -> dict[int, str]:
    """Leave out what no store ever made a token of."""
    return {item_id: token for item_id, token in claims.items() if token.isascii() and token.isalnum()}


def _entry(values: Mapping[int, Any], item_id: int, name: str) -> Any:
    try:
        return values[item_id]
    except KeyError:
        raise OutboxError(f"{name} has no entry for item {item_id}: give one for each claim.") from None


def _check_moments(name: str, moments: Mapping[int, object]) -> None:
    for value in moments.values():
        check_moment(name, value)


def _fingerprints(texts: Mapping[int, str]) -> dict[int, str]:
    return {item_id: error_fingerprint(text) for item_id, text in texts.items()}
