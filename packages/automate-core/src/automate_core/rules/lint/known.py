"""What is known about the data, and the parts of a rule from which more can be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from automate_core.rules.compiler import constant_path
from automate_core.rules.lint.places import ANYWHERE, Place
from automate_core.rules.lint.values import Values, join
from automate_core.rules.paths import split

__all__ = ["Known", "Path", "as_conjunction", "is_constant", "variable"]

Path = tuple[str, ...]
"""The parts of the path of a variable."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about the data.

    Args:
        place: What variables read.
        narrowed: What stands at some paths, where more is known than the place says.
        facts: Whether some conditions hold, by their canonical text.
        is_secret: Whether the data are the items of a secret.
    """

    place: Place = ANYWHERE
    narrowed: Mapping[Path, Values] = field(default_factory=dict)
    facts: Mapping[str, bool] = field(default_factory=dict)
    is_secret: bool = False

    def at(self, path: Path) -> Values:
        """Return what may stand at a path; ``MISSING`` for nothing at all.

        Args:
            path: The path.
        """
        found = self.narrowed.get(path)
        return self.beneath(path).values if found is None else found

    def beneath(self, path: Path) -> Place:
        """Return the place at a path, as the schema has it.

        Args:
            path: The path.
        """
        return self.place.beneath(path)

    def join(self, other: Known) -> Known:
        """Return what is known where either is the case.

        Args:
            other: The other case.
        """
        paths = self.narrowed.keys() & other.narrowed.keys()
        return replace(
            self,
            narrowed={path: join([self.narrowed[path], other.narrowed[path]]) for path in paths},
            facts=dict(self.facts.items() & other.facts.items()),
        )


def is_constant(rule: Any) -> bool:
    """Return whether a rule is made of constants alone.

    Args:
        rule: A checked rule.
    """
    if type(rule) is list:
        return all(map(is_constant, rule))
    return type(rule) is not dict or not rule


def variable(rule: Any) -> tuple[Path, Any] | None:
    """Take a variable apart whose path is written out, and whose default is a constant.

    Args:
        rule: A checked rule.

    Returns:
        The path and the default; None for any other rule.
    """
    path = constant_path(rule)
    if path is not None:
        return path, None
    given = rule.get("var") if type(rule) is dict else None
    if type(given) is not list or len(given) < 2 or type(given[0]) in (list, dict) or not is_constant(given[1]):
        return None
    return split(given[0]), given[1]


def as_conjunction(name: str, given: list[Any]) -> list[Any] | None:
    """Return the two comparisons of a "between"; None for any other operation.

    Args:
        name: The operator.
        given: Its operands.
    """
    if name not in ("<", "<=") or len(given) < 3:
        return None
    return [{name: given[:2]}, {name: given[1:3]}]
