"""The names of one secret: ``$secret:`` is what its backend is, and AWS knows names and ARNs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from automate_core._secret_ref import SecretRef

if TYPE_CHECKING:
    from automate_core._secret_backend import SecretBackend
    from automate_core.settings import SecretSettings

__all__ = ["SecretPlace", "aws_names", "find_names", "find_place"]

_PROBE = "PATH"

_SECRET_ARN = re.compile(r"arn:.*:secretsmanager:(?:.*:)?secret:(?P<name>[^:#@]+)(?P<rest>.*)")
_PARAMETER_ARN = re.compile(r"arn:.*:ssm:(?:.*:)?parameter/(?P<name>[^:]+)")
_RANDOM_END = re.compile(r"-(?:[A-Za-z0-9?]{6}|\*)$")
"""What AWS puts behind the name of a secret in its ARN; a pattern may leave it open."""


class SecretPlace(NamedTuple):
    """Where ``$secret:`` reads: the scheme that names the same, and what it puts before a path."""

    scheme: str
    prefix: str


def find_place(config: SecretSettings, make_backend: Callable[[], SecretBackend]) -> SecretPlace | None:
    """Return what ``$secret:`` is by another name; no backend is asked anything.

    Args:
        config: The settings of secrets.
        make_backend: Returns the backend of ``$secret:``, where it is a class of somebody's own.

    Returns:
        The place; None where no other scheme names it.
    """
    prefixes = {"env": config.prefix, "vault": config.vault.prefix, "aws": config.aws.prefix}
    if "." not in config.backend:
        return SecretPlace(config.backend, prefixes[config.backend]) if config.backend in prefixes else None
    backend = make_backend()
    located = backend.locate(_PROBE)
    if backend.key not in prefixes or not located.endswith(_PROBE):
        return None
    return SecretPlace(backend.key, located.removesuffix(_PROBE))


def find_names(ref: SecretRef, place: SecretPlace | None) -> list[list[str]]:
    """Return all names of the secret that a reference names.

    Args:
        ref: The reference.
        place: What ``$secret:`` is by another name; None where no other scheme names it.

    Returns:
        The names, once for each secret that may be meant: the end of an ARN may be AWS's, or that of the name.
    """
    end = str(ref)[len(f"${ref.scheme}:{ref.path}") :]
    scheme, path = ref.scheme, ref.path
    if scheme == "secret" and place is not None:
        scheme, path = place.scheme, place.prefix + path
    found = []
    for name in (aws_names(path) if scheme == "aws" else []) or [path]:
        names = {str(ref)}
        for each in (path, name):
            names.add(f"${scheme}:{each}{end}")
            if place is not None and scheme == place.scheme and each.startswith(place.prefix):
                names.add(f"$secret:{each.removeprefix(place.prefix)}{end}")
        found.append(sorted(names))
    return found


def aws_names(path: str) -> list[str]:
    """Return what an ARN may be called without region and account.

    Args:
        path: What stands behind ``$aws:``, or a pattern of it.

    Returns:
        Names as they stand behind ``$aws:``; none where it is no ARN.
    """
    if match := _PARAMETER_ARN.fullmatch(path):
        return [f"ssm/{match['name']}"]
    if match := _SECRET_ARN.fullmatch(path):
        name, rest = match["name"], match["rest"]
        return [each + rest for each in dict.fromkeys((name, _RANDOM_END.sub("", name))) if each]
    return []
