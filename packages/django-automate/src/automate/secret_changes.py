"""The audit of stored secrets: storing and changing them is ``automate_secrets``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automate_secrets.changes import SecretVersion

__all__ = ["audit"]


def audit(*, action: str, actor: str, versions: Sequence[SecretVersion], key_id: str = "", **_: Any) -> None:
    """Write down who changed a secret, in the transaction of the change: names and versions, never values.

    Args:
        action: What was done, such as ``"set"``; ``"rewrapped"`` concerns the rows of a batch, of any secrets.
        actor: Who did it; empty where the caller did not say.
        versions: What it concerns.
        key_id: The id of the key that encrypts them now; empty where they are gone.
        **_: What else the signal sends.
    """
    from automate.audit import record
    from automate.commands.people import actor as whoever_runs_this

    who, details = actor or whoever_runs_this("python"), {"key_id": key_id} if key_id else {}
    if action == "rewrapped":
        batch = [{"tenant": each.tenant, "resource": _resource(each), "version": each.version} for each in versions]
        record("secret.rewrapped", "secrets", actor=who, details={**details, "versions": batch})
        return
    numbers = [version.version for version in versions]
    place = versions[0]
    record(
        f"secret.{action}",
        _resource(place),
        actor=who,
        tenant=place.tenant,
        details={**details, "versions": numbers},
    )


def _resource(version: SecretVersion) -> str:
    return f"secret:$secret:{version.name}"  # the redactor takes a bare name for the value
