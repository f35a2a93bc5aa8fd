"""Whose rows somebody may see: a project says it in one place, and every page and every query set asks here.

Rows belong to tenants by name; an empty name is the installation's own. Without ``TENANTS_OF_USER`` there is one
tenant as far as people are concerned, and whoever may see a page sees all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from automate_core import settings
from automate_core.errors import ConfigurationError
from automate_core.plugins import load_target

__all__ = ["finder", "may_see", "tenants_of", "within"]


def finder(target: str) -> Any:
    """Import the function that ``TENANTS_OF_USER`` names.

    Args:
        target: Its dotted path; empty where there is none.

    Returns:
        The function, or None.

    Raises:
        PluginLoadError: If it cannot be imported.
    """
    if not target:
        return None
    return load_target(target if ":" in target else ":".join(target.rsplit(".", 1)), what=f"TENANTS_OF_USER {target}")


def tenants_of(user: Any) -> frozenset[str] | None:
    """Return the tenants whose rows somebody may see.

    Args:
        user: A user as Django has them. A superuser sees everything.

    Returns:
        Their names; None where it is all of them.

    Raises:
        ConfigurationError: If the function of ``TENANTS_OF_USER`` returns something else than names.
        PluginLoadError: If it cannot be imported.
    """
    target = settings.current().tenants_of_user
    find = None if getattr(user, "is_superuser", False) else finder(target)
    if find is None:
        return None
    found = find(user)
    if found is None:
        return None
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise ConfigurationError(
            f"TENANTS_OF_USER: {target} must return None or a collection of names, not {type(found).__name__}."
        )
    tenants = frozenset(found)
    if not all(isinstance(tenant, str) for tenant in tenants):
        raise ConfigurationError(f"TENANTS_OF_USER: {target} returned what is no name.")
    return tenants


def may_see(user: Any, tenant: str) -> bool:
    """Whether somebody may see the rows of a tenant.

    Args:
        user: The user.
        tenant: Its name.
    """
    tenants = tenants_of(user)
    return tenants is None or tenant in tenants


def within(rows: Any, user: Any, lookup: str = "tenant") -> Any:
    """Leave the rows that somebody may see.

    Args:
        rows: A query set.
        user: The user.
        lookup: The column with the tenant's name.
    """
    tenants = tenants_of(user)
    return rows if tenants is None else rows.filter(**{f"{lookup}__in": sorted(tenants)})
