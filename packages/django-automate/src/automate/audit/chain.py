"""The chain of the audit log: what the code of an entry is made of, and the seal of its head. No database, no clock.

The code of an entry is an HMAC over every stored field of it, the code of the entry before among them. What is encoded
is what a database gives back: JSON that no column changes (:func:`settled`), times in whole microseconds of UTC.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from automate_core.errors import InvalidPayloadError
from automate_core.payload import canonical_json

__all__ = ["FIELDS", "GENESIS", "Anchor", "KeyRing", "code_of", "is_code_of", "is_seal_of", "seal_of", "settled"]

FIELDS = ("position", "previous", "key_id", "created_at", "actor", "action", "resource", "tenant", "details")
"""What the code of an entry covers: every column but the code itself."""

GENESIS = "0" * 64
"""What stands for the code of the entry before the first one."""

_ENTRY, _HEAD = "automate.audit.entry.1", "automate.audit.head.1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of the chain by their ids.

    Args:
        keys: The keys; empty where none is configured.
        active: The id of the one for new entries; empty where there is none.
        retired: The positions of the last entries of keys that write no more; an empty id is without a key.
    """

    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    active: str = ""
    retired: Mapping[str, int] = field(default_factory=dict)

    def __redacted__(self) -> dict[str, object]:
        return {"keys": sorted(self.keys), "active": self.active, "retired": dict(self.retired)}

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key ring is not pickled: the keys in it would be")

    def knows(self, key_id: str) -> bool:
        """Whether codes under a key id can be checked; those without a key always can.

        Args:
            key_id: The id; empty is no key.
        """
        return not key_id or key_id in self.keys

    def code(self, purpose: str, value: Any, key_id: str) -> str:
        """Return the code of a JSON value: an HMAC-SHA256, or without a key a plain SHA-256; in hexadecimal.

        Args:
            purpose: What kind of value it is, so that no code of one kind passes for one of another.
            value: The value.
            key_id: Whose key; empty is no key.

        Raises:
            InvalidPayloadError: If the value is no JSON.
        """
        text = canonical_json([purpose, value])
        if not key_id:
            return hashlib.sha256(text).hexdigest()
        return hmac.new(self.keys[key_id], text, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head that is kept elsewhere, to be held against the log later on.

    Args:
        position: The position of the last entry; 0 where there is none.
        mac: Its code.
    """

    position: int
    mac: str

    def __str__(self) -> str:
        return f"automate-audit-1:{self.position}:{self.mac}"

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """Read what ``automate audit head`` printed.

        Args:
            text: The text.

        Raises:
            ValueError: If it is something else.
        """
        label, _, rest = text.strip().partition(":")
        number, _, mac = rest.partition(":")
        if label != "automate-audit-1" or not number.isdecimal() or len(mac) != len(GENESIS):
            raise ValueError("this is no head of an audit log: 'automate audit head' prints one")
        return cls(int(number), mac)


def code_of(entry: Mapping[str, Any], ring: KeyRing) -> str:
    """Return the code of an entry, under the key that it names.

    Args:
        entry: Its :data:`FIELDS`, by name.
        ring: The keys, that one among them.

    Raises:
        InvalidPayloadError: If a field holds what no entry is written with.
    """
    fields = {name: entry[name] for name in FIELDS}
    fields["created_at"] = _microseconds(fields["created_at"])
    return ring.code(_ENTRY, fields, entry["key_id"])


def is_code_of(mac: object, entry: Mapping[str, Any], ring: KeyRing) -> bool:
    """Whether an entry has this code. Whatever its fields were changed into, the answer is no, and never an error.

    Args:
        mac: The code.
        entry: Its :data:`FIELDS`, by name.
        ring: The keys, the entry's own among them.
    """
    try:
        return isinstance(mac, str) and hmac.compare_digest(mac.encode(), code_of(entry, ring).encode())
    except (InvalidPayloadError, UnicodeEncodeError, RecursionError):
        return False


def seal_of(position: int, mac: str, key_id: str, ring: KeyRing) -> str:
    """Return the seal of a head. No entry holds it, so that nobody can make the head of a shorter log from the rows.

    Args:
        position: The position of the last entry.
        mac: Its code.
        key_id: The key that seals; empty is no key.
        ring: The keys, that one among them.
    """
    return ring.code(_HEAD, [position, mac, key_id], key_id)


def is_seal_of(seal: object, position: int, mac: str, key_id: str, ring: KeyRing) -> bool:
    """Whether a head has this seal. Whatever its columns were changed into, the answer is no, and never an error.

    Args:
        seal: The seal.
        position: The position of the last entry.
        mac: Its code.
        key_id: The key that seals; empty is no key.
        ring: The keys, that one among them.
    """
    try:
        return isinstance(seal, str) and hmac.compare_digest(
            seal.encode(), seal_of(position, mac, key_id, ring).encode()
        )
    except (InvalidPayloadError, UnicodeEncodeError):
        return False


def settled(value: Any) -> Any:
    """Return details as every database gives them back: nothing in them changes between the write and the read.

    Binary JSON columns know no negative zero, write out exponents and round integers of more than 64 bits, so such
    numbers become text; so does what is not JSON. NUL and lone surrogates, which columns refuse, are escaped.

    Args:
        value: Redacted details.
    """
    if isinstance(value, str):
        return _settled_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_LARGEST <= value < _LARGEST else str(value)
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) and "e" not in repr(value) else repr(value)
    if isinstance(value, Mapping):
        return {_settled_text(str(key)): settled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [settled(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(settled, value), key=repr)
    return _settled_text(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value))


def _settled_text(text: str) -> str:
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def _microseconds(at: Any) -> Any:
    if not isinstance(at, datetime):
        return str(at)  # a column that was changed into something else: it has no code that fits
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)
