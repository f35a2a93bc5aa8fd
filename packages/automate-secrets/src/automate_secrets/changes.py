"""What is announced when stored secrets change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automate_core.errors import SecretBackendUnavailable
from django.dispatch import Signal

if TYPE_CHECKING:
    from automate_secrets.models import Secret

__all__ = ["SecretVersion", "announce", "secret_changed"]


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One stored version of a secret, without its value.

    Args:
        tenant: Whose it is; empty is the installation's own.
        name: The name of the secret.
        version: Its version.
    """

    tenant: str
    name: str
    version: int


secret_changed = Signal()
"""Sent within the transaction of each change; an error of a receiver rolls that back. With it come

- ``action``: ``"set"``, ``"rotated"``, ``"pruned"``, ``"deleted"`` or ``"rewrapped"``;
- ``actor``: who did it, empty where the caller did not say;
- ``versions``: a list of :class:`SecretVersion`, of one secret, or with ``"rewrapped"`` of those of a batch;
- ``key_id``: of the key that encrypts them now, empty where they are gone.
"""


def announce(model: type[Secret], action: str, actor: str, versions: Sequence[SecretVersion], key_id: str = "") -> None:
    """Send :data:`secret_changed`.

    Args:
        model: The model.
        action: What was done.
        actor: Who did it.
        versions: What it concerns.
        key_id: The id of the key that encrypts them now.

    Raises:
        OperationalError: If the database fails, such as by a deadlock: the change may be tried again.
        SecretBackendUnavailable: If it refuses what a receiver writes.
    """
    from django.db import Error, OperationalError

    try:
        secret_changed.send(model, action=action, actor=actor, versions=versions, key_id=key_id)
    except Error as error:
        if isinstance(error, OperationalError) and "no such" not in str(error):
            raise
        raise SecretBackendUnavailable(
            "The change of the secret cannot be recorded, and so was not made: a receiver of secret_changed failed "
            f"({type(error).__name__}). Where a table is missing, run: python manage.py migrate",
            retryable=False,
        ) from error
