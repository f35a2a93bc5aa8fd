"""Operators beyond those of JSONLogic, in groups that a user turns on by name; none is on by default.

They keep what the engine promises: no clock, no attribute, no call; data of the wrong kind gives null or false; a
constant that cannot be meant is refused when the rule is compiled; long texts are paid from the budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from types import MappingProxyType

from automate_core.errors import ConfigurationError
from automate_core.rules.operators import Operator

__all__ = ["EXTENSIONS", "find_extension", "load"]

EXTENSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dates": ("date", "date_add", "date_diff", "date_part"),
        "ranges": ("between", "length"),
        "regex": ("matches",),
        "text": ("lower", "upper", "trim", "starts_with", "ends_with"),
    }
)
"""The groups by name, and the names of what each adds: ``OPERATORS`` of the module that has its name."""


def find_extension(name: str) -> str:
    """Return the module of a group.

    Args:
        name: The name of the group.

    Raises:
        ConfigurationError: If there is no such group.
    """
    if name not in EXTENSIONS:
        raise ConfigurationError(f"There is no extension {name!r} of rules; there are {', '.join(EXTENSIONS)}.")
    return f"{__name__}.{name}"


def load(names: Iterable[str]) -> list[Operator]:
    """Return the operators of some groups.

    Args:
        names: The names of the groups.

    Raises:
        ConfigurationError: If there is no such group, or what it needs is not installed.
    """
    operators: list[Operator] = []
    for name in names:
        operators += import_module(find_extension(name)).OPERATORS
    return operators
