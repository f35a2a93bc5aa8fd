"""Adding entries to the end of the chain, one after the other, whoever writes.

Each append locks the head row until its transaction ends. It is the last lock that a transaction takes: whoever records
does so after all other writes, so that nobody waits for a lock while he holds this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from automate_core.errors import AuditChainBroken, AuditError
from automate_core.payload import storable_text
from automate_core.redaction import redact, redact_text
from django.db import IntegrityError, OperationalError, connections, transaction
from django.utils import timezone

from automate.audit.chain import FIELDS, GENESIS, KeyRing, code_of, seal_of, settled
from automate.audit.keys import current_ring
from automate.audit.stored import HEAD
from automate.payloads import ensure_storable

if TYPE_CHECKING:
    from automate.models.audit import AuditHead, AuditLogEntry

__all__ = ["RESEALED", "Tail", "appending", "reseal"]

RESEALED = "audit.resealed"
"""The action of an entry that lets a broken log go on."""

LOCK_SECONDS = 10
"""How long an append waits on PostgreSQL; elsewhere the database itself gives up."""

_MOST_BYTES = 1024 * 1024
_REMEDY = (
    "'automate audit verify' says what is wrong with the log. Nothing is recorded, and nothing is done that must be on "
    "record, until it is restored, or 'automate audit reseal' has put on record that the log goes on all the same."
)


class Tail:
    """The end of the chain, where entries are added.

    Args:
        position: The position of the last entry.
        mac: Its code.
        ring: The keys.
    """

    def __init__(self, position: int, mac: str, ring: KeyRing) -> None:
        self.position = position
        self.mac = mac
        self._ring = ring

    def take(self, entry: AuditLogEntry) -> None:
        """Make an entry, which is not written yet, the next one: give it its place and its code.

        Args:
            entry: The entry. It is redacted here, and its time is now.

        Raises:
            InvalidPayloadError: If its details are nested too deeply for the database, or larger than 1 MiB.
        """
        for name in ("actor", "action", "resource", "tenant"):
            column: Any = entry._meta.get_field(name)
            setattr(entry, name, storable_text(redact_text(getattr(entry, name)), column.max_length))
        entry.details = settled(redact(entry.details))
        ensure_storable(entry.details, max_bytes=_MOST_BYTES, what="details of an audit entry", require_object=False)
        entry.created_at = timezone.now()
        entry.position, entry.previous, entry.key_id = self.position + 1, self.mac, self._ring.active
        entry.mac = code_of({name: getattr(entry, name) for name in FIELDS}, self._ring)
        self.position, self.mac = entry.position, entry.mac

    def head(self) -> dict[str, Any]:
        """Return the columns of the head that ends here."""
        key_id = self._ring.active
        seal = seal_of(self.position, self.mac, key_id, self._ring)
        return {"position": self.position, "mac": self.mac, "key_id": key_id, "seal": seal}


@contextmanager
def appending(using: str) -> Iterator[Tail]:
    """Lock the end of the chain, and move it over what is written within.

    Args:
        using: The database.

    Yields:
        The end, which gives each entry its place.

    Raises:
        AuditChainBroken: If the head is not what was written last; nothing can be appended then.
        AuditError: If another transaction holds it for too long; ``retryable``.
        DatabaseError: If it cannot be written; the transaction is to be rolled back.
    """
    from automate.models.audit import AuditHead

    ring = current_ring()
    with transaction.atomic(using=using, savepoint=False):
        head = _locked_head(using)
        _ensure_intact(head, ring, using)
        tail = Tail(head.position, head.mac, ring)
        try:
            yield tail
        except IntegrityError as error:
            raise AuditChainBroken(
                f"Position {head.position + 1} of the audit log is taken, although its head is before it. {_REMEDY}"
            ) from error
        if tail.position != head.position:
            AuditHead.objects.using(using).filter(pk=HEAD).update(**tail.head())


def reseal(*, actor: str, reason: str, using: str = "default") -> AuditLogEntry:
    """Let a broken log go on: an entry says so, behind everything that is there. It mends nothing.

    :func:`automate.audit.verify` goes on finding what is wrong, and this entry too, unless it begins at it.

    Args:
        actor: Who does it.
        reason: Why.
        using: The database.

    Returns:
        The entry.
    """
    from automate.models.audit import AuditHead, AuditLogEntry

    ring = current_ring()
    with transaction.atomic(using=using):
        head = _locked_head(using)
        entries = AuditLogEntry.objects.using(using).filter(position__gte=1)
        last = entries.order_by("-position").values("position", "mac").first()
        position, mac = (last["position"], last["mac"]) if last else (0, GENESIS)
        tail = Tail(max(position, head.position), mac, ring)
        found = {"position": head.position, "mac": head.mac, "last": position}
        entry = AuditLogEntry(actor=actor, action=RESEALED, resource="audit:log")
        entry.details = {"reason": reason, "head": found}
        tail.take(entry)
        entry.write(using)
        AuditHead.objects.using(using).filter(pk=HEAD).update(**tail.head())
    return entry


_COLUMNS = "id, position, mac, key_id, seal"
_LOCKING = {
    # It has no locks of rows, and refuses to turn a reader into a writer while another writes: so this writes.
    "sqlite": "UPDATE {table} SET position = position WHERE id = {only} RETURNING {columns}",
    # It waits for ever by itself. The row is found, and so the time is set, before it is locked; whoever has set one
    # keeps it.
    "postgresql": "SELECT {columns} FROM {table} WHERE id = {only} AND CASE current_setting('lock_timeout') "
    "WHEN '0' THEN set_config('lock_timeout', '{seconds}s', true) <> '' ELSE true END FOR UPDATE",
}
_MAKING = "INSERT INTO {table} ({columns}) VALUES ({values}) {otherwise}"
# INSERT IGNORE would leave a shared lock on the row with everybody who comes second, and each would then wait for the
# others: a deadlock. This takes the exclusive one.
_OTHERWISE = {"mysql": "ON DUPLICATE KEY UPDATE position = position"}
_LOCK_NOT_AVAILABLE, _LOCK_TIMEOUT = "55P03", 1205


def _locked_head(using: str) -> AuditHead:
    head = _lock(using)
    if head is None:  # the migration made it; a test that emptied its tables, or somebody else, took it away
        _make_head(using)
        head = _lock(using)
    if head is None:
        raise AuditChainBroken(f"The head of the audit log is gone. {_REMEDY}")
    return head


def _make_head(using: str) -> None:
    """Make the head where it is missing; the one that another transaction made meanwhile is left as it is."""
    from automate.models.audit import AuditHead

    connection, head, names = connections[using], AuditHead(), _COLUMNS.split(", ")
    statement = _MAKING.format(
        table=connection.ops.quote_name(AuditHead._meta.db_table),
        columns=_COLUMNS,
        values=", ".join(["%s"] * len(names)),
        otherwise=_OTHERWISE.get(connection.vendor, "ON CONFLICT DO NOTHING"),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [getattr(head, name) for name in names])


def _lock(using: str) -> AuditHead | None:
    from automate.models.audit import AuditHead

    vendor = connections[using].vendor
    try:
        if vendor not in _LOCKING:
            return AuditHead.objects.using(using).select_for_update().filter(pk=HEAD).first()
        table = connections[using].ops.quote_name(AuditHead._meta.db_table)
        names = {"table": table, "columns": _COLUMNS, "only": HEAD, "seconds": LOCK_SECONDS}
        with connections[using].cursor() as cursor:
            cursor.execute(_LOCKING[vendor].format(**names))
            row = cursor.fetchone()
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE and error.args[:1] != (_LOCK_TIMEOUT,):
            raise
        raise AuditError(
            "The end of the audit log was locked for too long: some transaction that recorded something goes on. "
            "Record last, and end the transaction.",
            retryable=True,
        ) from error
    return None if row is None else AuditHead(**dict(zip(_COLUMNS.split(", "), row, strict=True)))


def _ensure_intact(head: AuditHead, ring: KeyRing, using: str) -> None:
    """Refuse to go on from a head that others made: the next seal would hide that the log was cut off before it."""
    from automate.models.audit import AuditLogEntry

    if not ring.knows(head.key_id):
        raise AuditChainBroken(
            f"The audit log is sealed with the key {head.key_id!r}, which AUDIT.keys does not hold: keep the keys that "
            "were used before when there is a new one.",
            context={"key_id": head.key_id},
        )
    if not head.is_sealed_by(ring):
        raise AuditChainBroken(f"The head of the audit log was changed. {_REMEDY}")
    if not head.position or head.key_id == ring.active:
        return
    # The first entry of a new key, or what somebody made who has an old one, or none.
    sealed = f"with the key {head.key_id!r}" if head.key_id else "without a key"
    if head.key_id in ring.retired:
        raise AuditChainBroken(
            f"The head of the audit log is sealed {sealed}, which AUDIT.retired says writes no more. Where the active "
            f"key has written nothing yet, take {head.key_id!r} out of AUDIT.retired until it has. {_REMEDY}"
        )
    entries = AuditLogEntry.objects.using(using)
    if entries.filter(position=head.position).values_list("key_id", flat=True).first() != head.key_id:
        raise AuditChainBroken(f"The head of the audit log is sealed {sealed}, and its last entry is not. {_REMEDY}")
    if entries.filter(key_id=ring.active).exists():
        raise AuditChainBroken(
            f"The head of the audit log is sealed {sealed}, behind entries of the active key {ring.active!r}. A key "
            f"writes no more after another one did: restart what still has the settings of before. {_REMEDY}"
        )
