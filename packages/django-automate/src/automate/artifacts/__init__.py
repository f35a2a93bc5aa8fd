"""Large values are kept as files, and their rows hold references.

A value whose canonical JSON is longer than ``EXECUTION.inline_bytes`` becomes an artifact: one compressed file per
content, named by its SHA-256, in Django's storages. On the way into a row::

    column = stored(payload, encoded)              # the value itself where it is small, else a Reference
    with transaction.atomic():
        keep([(column, Owner.EVENT, event.id)])    # writes the file, and records the use; nothing for a small value
        event.save()

and on the way out of it ``content(event.payload)``, which costs nothing for a small value.

A file is there before the row that refers to it is committed, and as long as any row refers to it: whoever writes a
reference and whoever removes a file hold the row of the :class:`~automate.models.Artifact` against each other. What
nothing uses any more is removed by :func:`collect`, and what a rolled back transaction left by :func:`collect_orphans`.
"""

from __future__ import annotations

from automate.artifacts.collection import collect, collect_orphans
from automate.artifacts.context import reveal
from automate.artifacts.files import content, prepare, save, storage
from automate.artifacts.reference import MARK, Reference, from_column, stored
from automate.artifacts.uses import Owner, keep, share

__all__ = [
    "MARK",
    "Owner",
    "Reference",
    "collect",
    "collect_orphans",
    "content",
    "from_column",
    "keep",
    "prepare",
    "reveal",
    "save",
    "share",
    "storage",
    "stored",
]
