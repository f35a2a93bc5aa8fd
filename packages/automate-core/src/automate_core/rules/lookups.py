"""The operators that ask which variables are there: ``missing`` and ``missing_some``."""

from __future__ import annotations

from typing import Any

from automate_core.rules.coercion import NAN, plain
from automate_core.rules.comparisons import at_least
from automate_core.rules.limits import Budget
from automate_core.rules.paths import MISSING, lookup

__all__ = ["missing", "missing_some"]


def missing(context: Any, keys: list[Any], budget: Budget | None = None) -> list[Any]:
    """Find the variables that are not there, null or an empty text.

    Args:
        context: Where to look.
        keys: Their paths; a list in the first place stands for all of them.
        budget: Pays for the paths.

    Returns:
        Those of the paths that lead to nothing.
    """
    first = plain(keys[0]) if keys else None
    wanted = first if isinstance(first, list) else keys
    if budget is not None:
        budget.visit(len(wanted))
    return [key for key in wanted if _is_absent(context, key, budget)]


def _is_absent(context: Any, key: Any, budget: Budget | None) -> bool:
    key = plain(key)
    path, default = key, None
    if isinstance(key, list):
        # The key is what `var` is given, so a list is a path and its default.
        path, default = (*key[:2], None, None)[:2]
    found = lookup(context, path, budget)
    if found is MISSING:
        found = default
    return found is None or (isinstance(found, str) and not found)


def missing_some(context: Any, needed: Any, keys: Any, budget: Budget | None = None) -> list[Any]:
    """Find the variables that are not there, unless enough others are.

    Args:
        context: Where to look.
        needed: How many must be there.
        keys: Their paths.
        budget: Pays for the paths.

    Returns:
        The missing paths; none where enough are there.
    """
    keys = plain(keys)
    absent = missing(context, keys if isinstance(keys, list) else [keys], budget)
    count = len(keys) if isinstance(keys, list | str) else NAN
    return [] if at_least(count - len(absent), needed, budget) else absent
