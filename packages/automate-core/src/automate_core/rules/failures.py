"""What evaluation may end with in a dialect that has errors, and the scopes that it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from automate_core.errors import RuleEvaluationError
from automate_core.rules.display import shown
from automate_core.rules.limits import MAX_PRODUCED, MAX_VISITS, Budget, Where, pointer

__all__ = ["INVALID_ARGUMENTS", "NOT_A_NUMBER", "Failure", "ScopedBudget", "entered"]

INVALID_ARGUMENTS = "Invalid Arguments"
NOT_A_NUMBER = "NaN"


class Failure(Exception):
    """An operator failed; ``try`` catches it, and nothing outside of the engine sees it.

    Args:
        value: What it failed with: a text, or what ``throw`` was given.
        what: How a message may call it; None where it is data, which is not for messages.
    """

    def __init__(self, value: Any, what: str | None = None) -> None:
        super().__init__(what)
        self.value = value if isinstance(value, dict) else {"type": value}
        self.what = what
        self.where: Where = None
        self.is_placed = False

    def place(self, where: Where) -> Failure:
        """Note where it happened, if that is not known yet.

        Args:
            where: The place of the operator.
        """
        if not self.is_placed:
            self.where, self.is_placed = where, True
        return self

    def error(self) -> RuleEvaluationError:
        """Make the error that callers of the engine get."""
        at = pointer(self.where)
        with_what = "" if self.what is None else f" with {shown(self.what)[0]!r}"
        return RuleEvaluationError(
            f"The rule fails{with_what} at {repr(at) if at else 'its root'}.", context={"pointer": at}
        )


class ScopedBudget(Budget):
    """A budget that also keeps the scopes around the current one, for paths that climb.

    Args:
        scopes: The scopes, the outermost first.
        visits: Item visits.
        produced: Characters and list items.
    """

    __slots__ = ("scopes",)

    def __init__(self, scopes: list[Any] | None = None, visits: int = MAX_VISITS, produced: int = MAX_PRODUCED) -> None:
        super().__init__(visits, produced)
        self.scopes: list[Any] = [] if scopes is None else scopes


@contextmanager
def entered(scopes: list[Any], context: Any) -> Iterator[None]:
    """Go into an item, or into what follows an error: two scopes further in.

    Args:
        scopes: The scopes.
        context: What was the current one.
    """
    scopes += (context, {"index": -1})
    try:
        yield
    finally:
        del scopes[-2:]
