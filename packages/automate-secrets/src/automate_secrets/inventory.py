"""What is stored: which versions of which secrets, under which keys, and whether they can be decrypted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from automate_core.errors import SecretDecryptionError, SecretError

from automate_secrets._table import asking
from automate_secrets.changes import SecretVersion
from automate_secrets.envelope import decrypt, key_id_of
from automate_secrets.keys import Binding, KeyRing

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from automate_secrets.models import Secret

__all__ = ["Inventory", "KeyUse", "Refused", "StoredVersion", "examine", "key_to_leave", "stored", "use_of_keys"]

BATCH = 200
"""Rows that are read at once."""


@dataclass(frozen=True, slots=True)
class StoredVersion(SecretVersion):
    """A stored version, and what encrypts it.

    Args:
        key_id: The id of the key that wraps its data key.
        created_at: When it was stored.
    """

    key_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KeyUse:
    """How many rows are on one key.

    Args:
        key_id: Its id.
        rows: How many rows.
        state: ``"active"``, ``"old"``, or ``"missing"`` where ``SECRETS.keys`` does not hold it.
    """

    key_id: str
    rows: int
    state: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that could not be decrypted.

    Args:
        secret: Which version of which secret.
        key_id: The id of its key.
        why: What is wrong.
    """

    secret: SecretVersion
    key_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """What :func:`examine` found.

    Args:
        keys: The use of each key.
        refused: The rows that cannot be decrypted.
    """

    keys: list[KeyUse]
    refused: list[Refused]

    @property
    def problems(self) -> list[str]:
        """One sentence for each, with its remedy."""
        said = [
            f"The old key {use.key_id!r} still wraps {_rows(use.rows)}. Run: automate secrets rewrap"
            for use in self.keys
            if use.state == "old" and use.rows
        ]
        said += [
            f"The key {use.key_id!r}, which SECRETS.keys does not hold, wraps {_rows(use.rows)} that cannot be read "
            "without it. Put the key back, and remove it only after 'automate secrets rewrap'."
            for use in self.keys
            if use.state == "missing"
        ]
        missing = {use.key_id for use in self.keys if use.state == "missing"}
        return said + [row.why for row in self.refused if row.key_id not in missing]


def stored(tenant: str | None = None) -> list[StoredVersion]:
    """List what is stored, by tenant and name, the newest version first.

    Args:
        tenant: Whose; empty is the installation's own, None is everybody's.

    Raises:
        SecretBackendUnavailable: If the database cannot be asked, or lacks the table.
    """
    with asking() as model:
        rows = model.objects.defer("ciphertext")
        found = [
            StoredVersion(row.tenant, row.name, row.version, row.key_id, row.created_at)
            for row in (rows if tenant is None else rows.filter(tenant=tenant))
        ]
    return sorted(found, key=lambda version: (version.tenant, version.name, -version.version))


def use_of_keys(ring: KeyRing) -> list[KeyUse]:
    """Count the rows on each key, as :func:`key_to_leave` says; nothing is decrypted.

    Args:
        ring: The keys.

    Raises:
        SecretBackendUnavailable: If the database cannot be asked, or lacks the table.
    """
    counted: Counter[str] = Counter()
    with asking() as model:
        for rows in batches(model.objects.all(), BATCH):
            counted.update(key_to_leave(row, ring.active) for row in rows)
    return _uses(ring, counted)


def key_to_leave(row: Secret, active: str) -> str:
    """Return the id of the key that a row is on: as its header says, and where that is the active one, its column.

    They differ where somebody has changed a row by SQL, or put its ciphertext back.

    Args:
        row: The row.
        active: The id of the active key; what else is returned is to be rewrapped.
    """
    with suppress(SecretDecryptionError):  # nobody can rewrap what has no header
        if (key_id := key_id_of(bytes(row.ciphertext))) != active:
            return key_id
    return row.key_id


def examine(ring: KeyRing) -> Inventory:
    """Decrypt every row, and forget what it says.

    Args:
        ring: The keys.

    Returns:
        The use of each key, as the headers say, and the rows that cannot be decrypted.

    Raises:
        SecretBackendUnavailable: If the database cannot be asked, or lacks the table.
    """
    counted: Counter[str] = Counter()
    refused = []
    with asking() as model:
        for rows in batches(model.objects.all(), BATCH):
            for row in rows:
                key_id, why = _try(row, ring)
                counted[key_id] += 1
                if why:
                    refused.append(Refused(SecretVersion(row.tenant, row.name, row.version), key_id, why))
    return Inventory(_uses(ring, counted), refused)


def batches(rows: QuerySet[Secret], size: int) -> Iterator[list[Secret]]:
    """Read rows in the order of their ids, without a transaction that stays open meanwhile.

    Args:
        rows: Which ones.
        size: How many at once.

    Yields:
        The rows, at least one.
    """
    rows, last = rows.order_by("pk"), 0
    while batch := list(rows.filter(pk__gt=last)[:size]):
        yield batch
        last = batch[-1].pk


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _uses(ring: KeyRing, counted: dict[str, int]) -> list[KeyUse]:
    def state(key_id: str) -> str:
        return "active" if key_id == ring.active else "old" if key_id in ring.keys else "missing"

    return [KeyUse(key_id, counted.get(key_id, 0), state(key_id)) for key_id in sorted({*ring.keys, *counted})]


def _try(row: Secret, ring: KeyRing) -> tuple[str, str]:
    """Return the id of a row's key, and why the row cannot be decrypted, if it cannot."""
    what = f"{row.name!r} (version {row.version}{f', tenant {row.tenant!r}' if row.tenant else ''})"
    envelope = bytes(row.ciphertext)
    try:
        key_id = key_id_of(envelope)
        decrypt(envelope, Binding(row.tenant, row.name, row.version), ring)
    except SecretDecryptionError as error:
        return row.key_id, f"{what} cannot be decrypted. {error.message}"
    except SecretError as error:  # the service that holds its key cannot be asked, or refuses
        return row.key_id, f"{what} could not be tried. {error.message}"
    if key_id != row.key_id:
        differ = f"{what} says in its column that its key is {row.key_id!r}, and in its header {key_id!r}."
        return key_id, f"{differ} Run: automate secrets rewrap"
    return key_id, ""
