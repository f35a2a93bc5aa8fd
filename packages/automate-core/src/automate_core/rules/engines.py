"""Which engine serves which settings: a dialect, and the extensions that are turned on."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Literal, get_args

from automate_core.errors import ConfigurationError
from automate_core.rules.engine import DEFAULT, Engine
from automate_core.rules.extensions import load

__all__ = ["Dialect", "engine_for"]

Dialect = Literal["classic", "community"]
"""The semantics of json-logic-js 2.0.5, or those of the community's compat-tables."""


def engine_for(dialect: str = "classic", extensions: Iterable[str] = ()) -> Engine:
    """Return the engine of a dialect and some extensions; engines never change, so there is one of each.

    Args:
        dialect: ``"classic"``, the semantics of json-logic-js, or ``"community"``, those of the compat-tables.
        extensions: The groups of further operators: ``"dates"``, ``"ranges"``, ``"regex"``, ``"text"``.

    Returns:
        The engine.

    Raises:
        ConfigurationError: If there is no such dialect or extension, or what an extension needs is not installed.
    """
    return _engine(dialect, tuple(sorted(set(extensions))))


@cache
def _engine(dialect: str, extensions: tuple[str, ...]) -> Engine:
    if dialect not in get_args(Dialect):
        raise ConfigurationError(f"There is no dialect {dialect!r} of rules; there are {', '.join(get_args(Dialect))}.")
    if dialect == "classic":
        engine = DEFAULT
    else:
        from automate_core.rules.community import COMMUNITY

        engine = Engine(COMMUNITY)
    return engine.with_operators(*load(extensions)) if extensions else engine
