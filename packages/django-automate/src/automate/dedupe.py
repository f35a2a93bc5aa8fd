"""Dedupe keys: which event a key stands for, settled by the database for any number of events at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automate_core import settings
from automate_core.errors import DuplicateEventError

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from automate.emitting import Draft
    from automate.models import DedupeKey

__all__ = ["claim_keys"]

# A condition of so many keys nests less deeply than SQLite allows.
_KEYS_PER_STATEMENT = 500

Identity = tuple[str, str, str]
"""Tenant, source and key."""


@dataclass(slots=True)
class _Wanted:
    """A key that an event asks for.

    Args:
        index: The place of the event in the list.
        identity: Tenant, source and key.
        event_id: The event.
        digest: Tells an event from another one under the same key.
        type: The type of the event, for the message.
    """

    index: int
    identity: Identity
    event_id: str
    digest: str
    type: str


def claim_keys(drafts: Sequence[Draft], now: datetime, connection: BaseDatabaseWrapper) -> dict[int, str]:
    """Take the dedupe keys of events, as far as no other event has them.

    Args:
        drafts: The events; those without a key are left alone.
        now: When they are emitted; a key that expired before is free.
        connection: Where they are written, within a transaction.

    Returns:
        For the place of each event that is not new, the id of the event that has its key.

    Raises:
        DuplicateEventError: If an event under a key has another type or payload; ``context["index"]`` is its place.
    """
    wanted = [_wanted(index, draft) for index, draft in enumerate(drafts) if draft.event.dedupe_key is not None]
    first: dict[Identity, _Wanted] = {}
    for want in wanted:
        first.setdefault(want.identity, want)
    # In one order everywhere, so that emitters of the same keys wait for each other and do not deadlock.
    taken: dict[Identity, DedupeKey] = {}
    ordered = [first[identity] for identity in sorted(first)]
    for start in range(0, len(ordered), _KEYS_PER_STATEMENT):
        taken.update(_claim(ordered[start : start + _KEYS_PER_STATEMENT], now, connection))
    earlier: dict[int, str] = {}
    for want in wanted:
        row, leader = taken.get(want.identity), first[want.identity]
        holder, digest = (str(row.event_id), row.payload_hash) if row else (leader.event_id, leader.digest)
        if digest != want.digest:
            raise _duplicate(want, holder)
        if holder != want.event_id:
            earlier[want.index] = holder
    return earlier


def _wanted(index: int, draft: Draft) -> _Wanted:
    event = draft.event
    identity = (draft.tenant, event.source, event.dedupe_key or "")
    # All that makes the event belongs to it: another type is another event, and MySQL takes 'k' for 'K'.
    name = json.dumps([event.type, *identity])
    digest = hashlib.sha256(name.encode() + b"\n" + draft.canonical).hexdigest()
    return _Wanted(index, identity, draft.id, digest, event.type)


def _duplicate(want: _Wanted, holder: str) -> DuplicateEventError:
    key = want.identity[-1]
    return DuplicateEventError(
        f"dedupe_key {key!r} was used by event {holder} with another type or payload. Use another key for another "
        "event, or send the same one again.",
        context={"event_id": holder, "key": key, "type": want.type, "index": want.index},
    )


def _claim(wanted: Sequence[_Wanted], now: datetime, connection: BaseDatabaseWrapper) -> dict[Identity, DedupeKey]:
    """Take what is free of some keys and return the rows of the others."""
    # Insert first and look afterwards: a look beforehand could miss a key that another transaction is inserting.
    if _insert(wanted, now, connection) == len(wanted):
        return {}
    taken, expired = _look(wanted, now)
    if expired:
        from automate.models import DedupeKey

        DedupeKey.objects.filter(pk__in=[row.pk for row in expired.values() if row], expires_at__lte=now).delete()
        again = [want for want in wanted if want.identity in expired]
        if _insert(again, now, connection) < len(again):
            taken.update(_look(again, now)[0])  # another emitter renewed it this moment
    return taken


def _look(
    wanted: Sequence[_Wanted], now: datetime
) -> tuple[dict[Identity, DedupeKey], dict[Identity, DedupeKey | None]]:
    """Return the rows of keys that other events have, and of those that have expired."""
    rows = {(row.tenant, row.source, row.key): row for row in _rows(want.identity for want in wanted)}
    taken: dict[Identity, DedupeKey] = {}
    expired: dict[Identity, DedupeKey | None] = {}
    for want in wanted:
        row = rows.get(want.identity) or _equal_row(want.identity)
        if row is None:  # it had expired, and retention pruned it this moment
            expired[want.identity] = None
        elif str(row.event_id) != want.event_id:
            (expired if row.expires_at <= now else taken)[want.identity] = row
    return taken, expired


def _rows(identities: Iterable[Identity]) -> Iterable[DedupeKey]:
    from django.db.models import Q

    from automate.models import DedupeKey

    keys: dict[tuple[str, str], list[str]] = {}
    for tenant, source, key in identities:
        keys.setdefault((tenant, source), []).append(key)
    wanted = [Q(tenant=tenant, source=source, key__in=names) for (tenant, source), names in keys.items()]
    return DedupeKey.objects.filter(reduce(or_, wanted))


def _equal_row(identity: Identity) -> DedupeKey | None:
    """Return the row that the database takes for a key: MySQL compares without regard to case, for instance."""
    from automate.models import DedupeKey

    tenant, source, key = identity
    rows = DedupeKey.objects.filter(tenant=tenant, source=source, key=key)
    # Under REPEATABLE READ on MySQL the key of another transaction is not in the snapshot; a locking read finds it.
    # It is the second choice, as emitters that lock one row after another deadlock.
    return rows.first() or rows.select_for_update().first()


def _insert(wanted: Sequence[_Wanted], now: datetime, connection: BaseDatabaseWrapper) -> int:
    """Insert keys unless they are there, and return how many were not."""
    until = now + timedelta(days=settings.current().events.dedupe_window_days)
    expires_at = connection.ops.adapt_datetimefield_value(until)
    native = connection.features.has_native_uuid_field
    values: list[Any] = []
    for want in wanted:
        event_id = want.event_id if native else UUID(want.event_id).hex
        values += (*want.identity, event_id, want.digest, expires_at)
    insert, unless = ("INSERT IGNORE", "") if connection.vendor == "mysql" else ("INSERT", " ON CONFLICT DO NOTHING")
    rows = ", ".join(["(%s, %s, %s, %s, %s, %s)"] * len(wanted))
    columns = f"tenant, source, {connection.ops.quote_name('key')}, event_id, payload_hash, expires_at"
    statement = f"{insert} INTO automate_dedupekey ({columns}) VALUES {rows}{unless}"
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
