"""What stands in a column in the place of a large value. It is pure: no storage, no database."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from typing import Any

from automate_core import settings
from automate_core.errors import ArtifactCorrupt

__all__ = ["MARK", "UNREAD", "Reference", "from_column", "is_marked", "stored", "unpack"]

MARK = "$artifact"
"""The key of a reference. Every object in a column that has it at its top is a reference: see :func:`stored`."""

UNREAD: Any = object()
"""The value of a reference whose file has not been read."""

_HEX = frozenset("0123456789abcdef")


class Reference(dict[str, Any]):
    """What a column holds: ``{"$artifact": {"sha256": …, "bytes": …}}``. Make it with :func:`stored`.

    That a value is a reference is said by its type alone, never by what it looks like.

    Attributes:
        value: The large value, once it is known.
        packed: The content of its file; None where the reference came out of a column.
        is_saved: Whether the file was seen whole.
    """

    value: Any = UNREAD
    packed: bytes | None = None
    is_saved: bool = False

    @property
    def sha256(self) -> str:
        """The hash of the canonical text, in hexadecimal.

        Raises:
            ArtifactCorrupt: If the column holds something else.
        """
        sha256 = self._part("sha256")
        if not isinstance(sha256, str) or len(sha256) != 64 or not _HEX.issuperset(sha256):
            raise _changed()
        return sha256

    @property
    def size(self) -> int:
        """The length of the canonical text.

        Raises:
            ArtifactCorrupt: If the column holds something else.
        """
        size = self._part("bytes")
        if type(size) is not int or size <= 0:
            raise _changed()
        return size

    def _part(self, name: str) -> Any:
        inner = self.get(MARK)
        return inner.get(name) if isinstance(inner, dict) else None


def _changed() -> ArtifactCorrupt:
    return ArtifactCorrupt("A row refers to no artifact, although it looks so: it was changed by hand.")


def is_marked(value: Any) -> bool:
    """Return whether a value looks like a reference.

    Args:
        value: Any JSON value.
    """
    return isinstance(value, dict) and MARK in value


def stored(value: Any, encoded: bytes) -> Any:
    """Return what a column shall hold for a value. Nothing is written; see :func:`automate.artifacts.keep`.

    A value of somebody else that looks like a reference becomes an artifact however small it is, so that it is never
    taken for one.

    Args:
        value: A JSON value that may be kept as it is: redacted, where that is due.
        encoded: Its canonical text, as :func:`automate_core.payload.check_payload` returns it.

    Returns:
        The value itself, or a :class:`Reference`.
    """
    if len(encoded) <= settings.current().execution.inline_bytes and not is_marked(value):
        return value
    reference = Reference({MARK: {"sha256": hashlib.sha256(encoded).hexdigest(), "bytes": len(encoded)}})
    reference.value = value
    # Without a time in it the file of one content is the same whoever packs it; the first level is fast and enough.
    reference.packed = gzip.compress(encoded, compresslevel=1, mtime=0)
    return reference


def from_column(value: Any) -> Any:
    """Return what a column holds, references told apart; the models' fields do so themselves.

    Args:
        value: The JSON value of a whole column, as the database has it.
    """
    return Reference(value) if type(value) is dict and MARK in value else value


def unpack(packed: bytes, reference: Reference, where: str) -> Any:
    """Return the value that a file holds.

    Args:
        packed: The content of the file.
        reference: What refers to it.
        where: Where it was found, for the message.

    Raises:
        ArtifactCorrupt: If it is not what was written.
    """
    size = reference.size
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        encoded = reader.decompress(packed, size + 1)  # no more, whatever the file would unpack to
    except zlib.error as error:
        raise _corrupt(reference, where, f"it cannot be unpacked ({error})") from error
    if len(encoded) != size or not reader.eof:
        raise _corrupt(reference, where, f"it does not unpack to {size} bytes")
    if hashlib.sha256(encoded).hexdigest() != reference.sha256:
        raise _corrupt(reference, where, "its content has another SHA-256")
    return json.loads(encoded)


def _corrupt(reference: Reference, where: str, reason: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(
        f"The file {where} is damaged: {reason}. Restore it from a backup; nobody but Automate may write there.",
        context={"sha256": reference.sha256, "file": where},
    )
