"""Removing what nothing uses any more.

A file is deleted while the row of its artifact is locked and was seen without uses. Whoever wants to use it waits for
that lock, and finds the row gone: it makes another, and writes the file again. So no order of events leaves a use
without a file, and no period of grace is needed for that; it only keeps the collection away from what is young.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from automate_core import settings
from automate_core.errors import ArtifactUnavailable
from django.db import connections, models, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from automate.artifacts.files import FOLDER, file_name, guarded, storage
from automate.artifacts.uses import Owner

__all__ = ["collect", "collect_orphans", "lost_uses", "remove_unused"]

logger = logging.getLogger("automate.artifacts")

_USES_AT_ONCE = 1000

_WRITING = timedelta(hours=1)
"""More than the writing of one file can take."""


def collect(batch_size: int = 100, *, using: str = "default") -> int:
    """Remove artifacts that no row uses any more and that are older than ``ARTIFACTS.grace_hours``.

    It looks at every use first; retention, which does so once in a sweep and goes on where it stopped, calls
    :func:`remove_unused` alone. It must be called outside of a transaction; any number of processes may at the same
    time.

    Args:
        batch_size: How many at the most.
        using: Alias of the database.

    Returns:
        How many were removed; call again where it is as many as allowed.

    Raises:
        ArtifactUnavailable: If a file could not be deleted; the others of the batch were.
    """
    from automate.models import ArtifactUse

    after: int | None = 0
    while after is not None:
        lost, after = lost_uses(after, _USES_AT_ONCE, using=using)
        if lost:
            ArtifactUse.objects.using(using).filter(pk__in=lost).delete()
    return remove_unused(batch_size, using=using)


def remove_unused(batch_size: int = 100, *, using: str = "default") -> int:
    """Remove artifacts without a use that are older than ``ARTIFACTS.grace_hours``.

    Args:
        batch_size: How many at the most.
        using: Alias of the database.

    Returns:
        How many were removed; call again where it is as many as allowed.

    Raises:
        ArtifactUnavailable: If a file could not be deleted; the others of the batch were.
    """
    from automate.models import Artifact, ArtifactUse

    used = Exists(ArtifactUse.objects.using(using).filter(artifact=OuterRef("pk")))
    unused = Artifact.objects.using(using).filter(~used, created_at__lt=_young_since())
    return _remove_all(list(unused.order_by("created_at").values_list("pk", flat=True)[:batch_size]), using)


def lost_uses(after: int, size: int, *, using: str = "default") -> tuple[list[int], int | None]:
    """Find uses of rows that are gone, however they went: row by row, in bulk, or with a partition.

    Args:
        after: Only uses with a key behind this one.
        size: How many uses are looked at.
        using: Alias of the database.

    Returns:
        The keys of those that may be forgotten, and the key to go on after; None where no use is left to look at.
    """
    from automate.models import ArtifactUse, Event, Execution, ExecutionRun

    owners: dict[str, type[models.Model]] = {
        Owner.EVENT.value: Event,
        Owner.EXECUTION.value: Execution,
        Owner.RUN.value: ExecutionRun,
    }
    uses = ArtifactUse.objects.using(using).filter(pk__gt=after).order_by("pk")
    window = list(uses.values_list("pk", "owner", "owner_id")[:size])
    alive: set[tuple[str, UUID]] = set()
    for owner, model in owners.items():
        ids = {owner_id for _, kind, owner_id in window if kind == owner}
        if ids:
            found = model._default_manager.using(using).filter(pk__in=ids).order_by().values_list("pk", flat=True)
            alive.update((owner, pk) for pk in found)
    lost = [pk for pk, owner, owner_id in window if owner in owners and (owner, owner_id) not in alive]
    return lost, window[-1][0] if len(window) == size else None


def collect_orphans(batch_size: int = 100, *, using: str = "default") -> int:
    """Remove files without a row: what a transaction that was rolled back, or a process that was killed, left behind.

    It lists the whole storage: once a day is often enough.

    Args:
        batch_size: How many at the most.
        using: Alias of the database.

    Returns:
        How many were removed; call again where it is as many as allowed.

    Raises:
        ArtifactUnavailable: If the storage cannot be listed, or a file could not be deleted.
    """
    from automate.models import Artifact

    removed, before = 0, _young_since()
    for names in _folders():
        hashes = [sha256 for name in names if file_name(sha256 := _hash_of(name)) == name]
        known = set(Artifact.objects.using(using).filter(pk__in=hashes).values_list("pk", flat=True))
        orphans = [sha256 for sha256 in hashes if sha256 not in known and _is_old(file_name(sha256), before)]
        removed += _remove_all(orphans[: batch_size - removed], using, adopt=True)
        for name in names:
            # Nothing ever refers to such a name: its writer was killed before the file had its own.
            if file_name(_hash_of(name)) != name and _is_old(name, min(before, timezone.now() - _WRITING)):
                with guarded("delete", name):
                    storage().delete(name)
        if removed >= batch_size:
            break
    return removed


def _hash_of(name: str) -> str:
    return name.rpartition("/")[2][:64]


def _young_since() -> datetime:
    return timezone.now() - timedelta(hours=settings.current().artifacts.grace_hours)


def _remove_all(hashes: list[str], using: str, *, adopt: bool = False) -> int:
    removed, problem = 0, None
    for sha256 in hashes:
        try:
            removed += _remove(sha256, using, adopt=adopt)
        except ArtifactUnavailable as error:  # it keeps no other in its place
            problem = error
    if problem is not None:
        raise problem
    return removed


def _remove(sha256: str, using: str, *, adopt: bool) -> bool:
    """Remove one artifact, unless somebody uses it, is about to use it, or removes it too."""
    from automate.models import Artifact, ArtifactUse

    connection, name = connections[using], file_name(sha256)
    rows = Artifact.objects.using(using).filter(pk=sha256)
    with transaction.atomic(using=using, durable=True):
        if adopt:  # a row to lock; it goes with the file
            row = Artifact(sha256=sha256, bytes=0, created_at=timezone.now())
            Artifact.objects.using(using).bulk_create([row], ignore_conflicts=True)
        elif connection.vendor == "sqlite":
            rows.update(bytes=models.F("bytes"))  # it has no lock of rows: become the writer before looking
        skip_locked = connection.features.has_select_for_update_skip_locked
        if not rows.select_for_update(skip_locked=skip_locked).values_list("pk"):
            return False
        if ArtifactUse.objects.using(using).filter(artifact=sha256).exists():
            return False
        rows.delete()
        if connection.vendor == "postgresql":
            connection.check_constraints()  # now, and not at the commit, when the file is gone
        with guarded("delete", name):
            storage().delete(name)
    logger.info("Removed the artifact %s.", sha256)
    return True


def _folders() -> Iterator[list[str]]:
    """List the names of the files, folder by folder."""
    files = storage()
    with guarded("list", FOLDER):
        try:
            folders = sorted(files.listdir(FOLDER)[0])
        except FileNotFoundError:  # nothing was ever written
            return
    for folder in folders:
        with guarded("list", f"{FOLDER}/{folder}"):
            names = sorted(files.listdir(f"{FOLDER}/{folder}")[1])
        yield [f"{FOLDER}/{folder}/{name}" for name in names]


def _is_old(name: str, before: datetime) -> bool:
    with guarded("read the time of", name):
        try:
            return storage().get_modified_time(name) < before
        except FileNotFoundError:  # somebody else removed it this moment
            return False
