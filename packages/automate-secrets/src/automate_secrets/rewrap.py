"""Giving the data keys of stored secrets to the active key, while the secrets are read and written.

Only data keys are encrypted anew; the ciphertext of no value changes. A row is written where it is still the row that
was read. So two of these at once, and whoever stores or deletes secrets meanwhile, do no harm to each other. What is
still to do is what the rows say, so one that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from automate_core.errors import SecretDecryptionError

from automate_secrets._table import asking
from automate_secrets.changes import SecretVersion, announce
from automate_secrets.envelope import rewrap
from automate_secrets.inventory import BATCH, Refused, batches, key_to_leave
from automate_secrets.keys import Binding, KeyRing

if TYPE_CHECKING:
    from automate_secrets.models import Secret

__all__ = ["Rewrapped", "rewrap_rows"]

_ATTEMPTS = 5


@dataclass(slots=True)
class Rewrapped:
    """What became of the rows that were on other keys than the active one.

    Args:
        rewrapped: How many are on the active key now.
        overtaken: How many somebody else rewrapped or deleted meanwhile.
        refused: Those whose data key could not be decrypted; they stay as they are.
    """

    rewrapped: int = 0
    overtaken: int = 0
    refused: list[Refused] = field(default_factory=list)


def rewrap_rows(
    ring: KeyRing, *, actor: str = "", size: int = BATCH, progress: Callable[[int, int], None] | None = None
) -> Rewrapped:
    """Give every row to the active key, in bounded batches, each written in a short transaction of its own.

    Rows that others store under an old key after it has begun are not among them: while they do, it would never end.

    Args:
        ring: The keys.
        actor: Who does it, for the audit log.
        size: Rows of a batch.
        progress: Called after each batch with how many rows were looked at, and how many there were at first.

    Returns:
        What became of them.

    Raises:
        SecretBackendUnavailable: If the database or a service that holds a key cannot be asked. What was done stays;
            call it again to go on.
    """
    from django.db.models import Count, Max

    report, seen = Rewrapped(), 0
    with asking() as model:
        # All of them, as the column of a row may say another key than its header.
        count, last = model.objects.aggregate(count=Count("pk"), last=Max("pk")).values()
        for rows in batches(model.objects.filter(pk__lte=last or 0), size):
            old = [row for row in rows if key_to_leave(row, ring.active) != ring.active]
            # Keys that are held elsewhere are asked before the transaction.
            renewed = [(row, envelope) for row in old if (envelope := _rewrap(row, ring, report)) is not None]
            written = _write(model, renewed, ring.active, actor)
            report.rewrapped += written
            report.overtaken += len(renewed) - written
            seen += len(rows)
            if progress is not None:
                progress(seen, max(seen, count))
    return report


def _rewrap(row: Secret, ring: KeyRing, report: Rewrapped) -> bytes | None:
    try:
        return rewrap(bytes(row.ciphertext), Binding(row.tenant, row.name, row.version), ring)
    except SecretDecryptionError as error:
        report.refused.append(Refused(SecretVersion(row.tenant, row.name, row.version), row.key_id, error.message))
        return None


def _write(model: type[Secret], renewed: Sequence[tuple[Secret, bytes]], key_id: str, actor: str) -> int:
    """Write the envelopes of a batch, and tell of it in the same transaction."""
    from django.db import OperationalError

    for _ in range(_ATTEMPTS - 1):
        with suppress(OperationalError):  # a deadlock, or a lock that others held too long: nothing was written
            return _write_once(model, renewed, key_id, actor)
    return _write_once(model, renewed, key_id, actor)


def _write_once(model: type[Secret], renewed: Sequence[tuple[Secret, bytes]], key_id: str, actor: str) -> int:
    from django.db import router, transaction

    written = []
    with transaction.atomic(using=router.db_for_write(model)):
        for row, envelope in renewed:
            same = model.objects.filter(pk=row.pk, ciphertext=bytes(row.ciphertext))
            if same.update(ciphertext=envelope, key_id=key_id):
                written.append(SecretVersion(row.tenant, row.name, row.version))
        if written:
            announce(model, "rewrapped", actor, written, key_id)
    return len(written)
