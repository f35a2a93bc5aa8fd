"""What is announced when stored secrets change."""

from __future__ import annotations

from dataclasses import dataclass

from django.dispatch import Signal

__all__ = ["SecretVersion", "secret_changed"]


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
