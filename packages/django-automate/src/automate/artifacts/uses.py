"""Which rows use which artifacts. A use is committed with its row, and holds the artifact."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any
from uuid import UUID

from automate_core.errors import ArtifactUnavailable, AutomateError
from django.db import connection
from django.utils import timezone

from automate.artifacts.files import save
from automate.artifacts.reference import Reference

__all__ = ["Owner", "keep", "share"]

_LOCKS = {"postgresql": " FOR KEY SHARE", "mysql": " LOCK IN SHARE MODE", "sqlite": ""}
"""Locks that writers share with each other and not with the collection. On SQLite the INSERT before it locks all."""

_TRIES = 5


class Owner(StrEnum):
    """What a row that uses an artifact belongs to: with it the use ends."""

    EVENT = "event"
    EXECUTION = "execution"
    RUN = "run"


def keep(uses: Iterable[tuple[Any, Owner, UUID]]) -> None:
    """Make sure that the artifacts of rows are there as long as the rows are.

    It must be called in the transaction that writes the rows. Where every value is small, it does nothing.

    Args:
        uses: What each column shall hold, and whose it is.

    Raises:
        ArtifactUnavailable: If a file cannot be written, or an artifact that a row was to share is gone.
        AutomateError: If there is no transaction.
    """
    wanted = [use for use in uses if type(use[0]) is Reference]
    if wanted:
        _keep(wanted)


def share(owner: Owner, old_id: UUID, new_id: UUID) -> None:
    """Keep what one owner uses for another one too, to which its rows are copied in the same transaction.

    Args:
        owner: What both are.
        old_id: Whose rows are copied.
        new_id: Whose copies they are.

    Raises:
        ArtifactUnavailable: If an artifact is gone.
    """
    from automate.models import ArtifactUse

    uses = ArtifactUse.objects.filter(owner=owner.value, owner_id=old_id).select_related("artifact")
    keep([(use.artifact.reference, owner, new_id) for use in uses])


def _keep(wanted: list[tuple[Reference, Owner, UUID]]) -> None:
    from automate.models import ArtifactUse

    if not connection.in_atomic_block:
        raise AutomateError("Artifacts are kept in the transaction that writes their rows: open it first.")
    references: dict[str, Reference] = {}
    for reference, _, _ in wanted:
        if reference.packed is not None or reference.sha256 not in references:
            references[reference.sha256] = reference
    _hold(references)
    for reference in references.values():
        save(reference)
    rows = sorted({(reference.sha256, owner.value, owner_id) for reference, owner, owner_id in wanted})
    ArtifactUse.objects.bulk_create(
        [ArtifactUse(artifact_id=sha256, owner=owner, owner_id=owner_id) for sha256, owner, owner_id in rows],
        ignore_conflicts=True,
    )


def _hold(references: dict[str, Reference]) -> None:
    """Lock the rows of artifacts, made where they are missing, against the collection until the transaction ends."""
    from automate.models import Artifact

    now = timezone.now()
    names = sorted(references)  # in one order, so that two writers of the same two wait for each other, and no longer
    new = [name for name in names if references[name].packed is not None]
    for _ in range(_TRIES):
        Artifact.objects.bulk_create(
            [Artifact(sha256=name, bytes=references[name].size, created_at=now) for name in new],
            ignore_conflicts=True,
        )
        missing = set(names) - _lock(names)
        if not missing:
            return
        if not missing.issubset(new):
            break
    raise ArtifactUnavailable(
        f"Artifact {min(missing)} was removed, as no row used it any more.", context={"sha256": min(missing)}
    )


def _lock(names: list[str]) -> set[str]:
    from automate.models import Artifact

    query = Artifact.objects.filter(pk__in=names).order_by("pk").values_list("pk").query
    sql, params = query.get_compiler(connection=connection).as_sql()
    with connection.cursor() as cursor:
        cursor.execute(sql + _LOCKS[connection.vendor], params)
        return {row[0] for row in cursor.fetchall()}
