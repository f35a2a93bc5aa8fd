"""What a rule may cost: sizes that are checked when it is compiled, and budgets while it runs.

A rule without an operator that multiplies work needs no budget: its cost is bounded by its size. Array operators,
``cat``, ``merge`` and lists of keys draw on a :class:`Budget`, so that no rule runs for long, whatever the data.
"""

from __future__ import annotations

from typing import Any, NoReturn

from automate_core.errors import RuleLimitExceeded

__all__ = [
    "MAX_DEPTH",
    "MAX_INTEGER_BITS",
    "MAX_NODES",
    "MAX_PRODUCED",
    "MAX_TEXT_BYTES",
    "MAX_VISITS",
    "Budget",
    "Where",
    "escape",
    "pointer",
]

MAX_DEPTH = 64
"""Operators and lists around one node of a rule."""

MAX_NODES = 10_000
"""Operators, lists and constants of a rule."""

MAX_TEXT_BYTES = 64 * 1024
"""Bytes (UTF-8) of one text constant of a rule."""

MAX_INTEGER_BITS = 4_096
"""Bits of one integer constant of a rule."""

MAX_VISITS = 100_000
"""Items that the array operators of one evaluation may visit."""

MAX_PRODUCED = 1_000_000
"""Characters and list items that one evaluation may produce."""

_CONVERSION = 2
_FREE_CONVERSIONS = _CONVERSION * MAX_VISITS
_CHARACTERS_PER_CONVERSION = 128 // _CONVERSION
_CHARACTERS_PER_VISIT = 4_096
_SCANNED_PER_VISIT = 128
_ITEMS_PER_VISIT = 32

Where = tuple[Any, str, int | None] | str | None
"""A place in a rule: the place of the operator around it, that operator's name, and the position among its operands
(None where the only operand is written without a list). The rule itself is None; inside a list the name is empty. A
text is a pointer that is already written."""


def pointer(where: Where) -> str:
    """Write a place in a rule as a JSON pointer.

    Args:
        where: The place.

    Returns:
        The pointer; ``""`` for the rule itself.
    """
    parts: list[str] = []
    while isinstance(where, tuple):
        where, name, index = where
        if index is not None:
            parts.append(str(index))
        if name:
            parts.append(escape(name))
    return (where or "") + "".join(f"/{part}" for part in reversed(parts))


def escape(name: str) -> str:
    """Write a name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


class Budget:
    """What one evaluation may still spend.

    Args:
        visits: Item visits.
        produced: Characters and list items.
    """

    __slots__ = ("conversions", "produced", "visits", "where")

    def __init__(self, visits: int = MAX_VISITS, produced: int = MAX_PRODUCED) -> None:
        self.visits = visits
        self.produced = produced
        self.conversions = _FREE_CONVERSIONS
        self.where: Where = None
        """What is being evaluated, for errors; whoever sets it puts back what was there."""

    def visit(self, count: int) -> None:
        """Pay for visits.

        Args:
            count: How many.

        Raises:
            RuleLimitExceeded: If they are used up.
        """
        self.visits -= count
        if self.visits < 0:
            self._refuse(f"visits more than {MAX_VISITS:,} items", "filter the list earlier or send fewer items")

    def produce(self, size: int) -> None:
        """Pay for a text or a list that the rule makes.

        Args:
            size: Its characters or items.

        Raises:
            RuleLimitExceeded: If the evaluation has made too much.
        """
        self.produced -= size
        if self.produced < 0:
            self._refuse(
                f"produces more than {MAX_PRODUCED:,} characters or items", "build smaller texts and lists in the rule"
            )
        self.visit(size // _CHARACTERS_PER_VISIT)

    def convert(self, characters: int = 0, count: int = _CONVERSION) -> None:
        """Pay for reading a value as what it is not: a text as a number, a list as a text.

        One for each item that may be visited is free; then each is a visit.

        Args:
            characters: The characters that are read.
            count: What it is worth beside, in halves.

        Raises:
            RuleLimitExceeded: If the visits are used up.
        """
        self.conversions -= count + characters // _CHARACTERS_PER_CONVERSION
        if self.conversions < 0:
            visits = -self.conversions // _CONVERSION + 1
            self.conversions += visits * _CONVERSION
            self.visit(visits)

    def read_text(self, characters: int) -> None:
        """Pay for reading through a long text."""
        if characters > _CHARACTERS_PER_VISIT:
            self.visit(characters // _CHARACTERS_PER_VISIT)

    def scan_text(self, characters: int) -> None:
        """Pay for searching a text: half of what converting it costs as long as it is short."""
        self.convert(min(characters, _SCANNED_PER_VISIT) // 3, count=1)
        if characters > _SCANNED_PER_VISIT:
            self.visit(characters // _SCANNED_PER_VISIT)

    def read_items(self, items: int) -> None:
        """Pay for reading through a long list."""
        if items > _ITEMS_PER_VISIT:
            self.visit(items // _ITEMS_PER_VISIT)

    def affordable(self, items: list[Any], weight: int) -> list[Any]:
        """Cut a list that is about to be visited to what can be paid for, and one item more.

        The one item more makes the payment fail if no earlier item has ended the visit.

        Args:
            items: The list.
            weight: What one item costs.

        Returns:
            The list itself where all of it can be paid for.
        """
        count = self.visits // weight + 1
        return items if len(items) <= count else items[:count]

    def _refuse(self, what: str, remedy: str) -> NoReturn:
        at = pointer(self.where)
        raise RuleLimitExceeded(
            f"The rule {what} at {repr(at) if at else 'its root'}: {remedy}.", context={"pointer": at}
        )
