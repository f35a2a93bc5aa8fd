"""Secret references, and what resolves them.

A reference is text that names a secret: ``$secret:API_KEY``, ``$env:DATABASE_URL``, ``$vault:kv/billing#api_key``,
``$aws:prod/billing#api_key``; ``@7`` at the end pins a version. Definitions, connections and settings hold references,
never secrets. They are resolved as late as possible, and every value that was resolved is hidden by the redactor from
then on.

A step of a workflow gets a :class:`SecretValue`, where the policy allows it, and the access is recorded
(:meth:`Resolver.secret`); code of the application calls :func:`resolve`. What the installation reads for itself is
recorded too, once each time that a backend is asked.
"""

from __future__ import annotations

from automate_core._references import SCHEMES
from automate_core._secret_access import AccessRecord, SecretAccess
from automate_core._secret_backend import SecretBackend
from automate_core._secret_ref import SecretRef, is_reference
from automate_core._secret_resolver import Resolver, invalidate
from automate_core._secret_value import SecretValue

__all__ = [
    "SCHEMES",
    "AccessRecord",
    "Resolver",
    "SecretAccess",
    "SecretBackend",
    "SecretRef",
    "SecretValue",
    "aresolve",
    "invalidate",
    "is_reference",
    "note_credential",
    "resolve",
    "resolver",
]

resolver = Resolver()
"""The default resolver."""


def note_credential(source: str, *, setting: str) -> None:
    """Record that a backend or a ring of keys reads what it logs in with, or encrypts with.

    Args:
        source: Where it reads it: an ``$env:`` reference, or ``file:`` and a path.
        setting: Which setting says so.

    Raises:
        SecretBackendUnavailable: If it cannot be recorded.
    """
    resolver.note_credential(source, setting=setting)


def resolve(ref: str | SecretRef) -> str:
    """Return the secret that a reference names.

    Args:
        ref: The reference, such as ``$secret:STRIPE_API_KEY``.

    Returns:
        The secret. From now on the redactor hides it.

    Raises:
        SecretError: If this is no reference; an unknown form is never taken for the secret itself.
        SecretAccessDenied: If ``SECRETS.allow`` does not allow the reference.
        SecretNotFoundError: If there is no such secret; the message says where it was looked for.
        SecretBackendUnavailable: If its backend is not installed, or cannot be asked now, or the access cannot be
            recorded.
    """
    return resolver.resolve(ref)


async def aresolve(ref: str | SecretRef) -> str:
    """Like :func:`resolve`, without blocking the event loop.

    Args:
        ref: The reference.

    Returns:
        The secret.

    Raises:
        SecretError: As :func:`resolve` does.
    """
    return await resolver.aresolve(ref)
