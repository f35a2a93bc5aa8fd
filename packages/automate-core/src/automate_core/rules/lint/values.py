"""Sets of JSON values: what a part of a rule may give, as far as can be told without the data.

A set never leaves out what may occur; it may hold more. So what holds for all of a set holds for all data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from automate_core.rules.coercion import INFINITY, is_number, to_number, to_text, truthy
from automate_core.rules.lint.ranges import FILLED_TEXTS, NUMBERS, TEXTS, Range
from automate_core.rules.operators import CLASSIC
from automate_core.rules.paths import MISSING

__all__ = ["ANYTHING", "BOOLEANS", "NOTHING", "Read", "Values", "constant", "join", "truths"]


@dataclass(frozen=True, slots=True)
class Read:
    """Texts, or lists, by what they are read as. Neither the empty text nor the empty list is among them.

    Args:
        text: The texts that they are, or are read as.
        number: The numbers that they may be read as; None for none.
        nan: Whether one may be read as no number.
    """

    text: Range = TEXTS
    number: Range | None = NUMBERS
    nan: bool = True

    def settled(self) -> Read | None:
        """Return the same, its number following from its text where that is known; None where both exclude each other.

        It does not matter which of the two narrowed it: a list is read as the number that its text is read as.
        """
        if self.number is None and not self.nan:
            return None
        if not self.text.is_point:
            return self
        number = to_number(self.text.low)
        if number != number:
            return replace(self, number=None) if self.nan else None
        if self.number is None or not self.number.holds(number):
            return None
        return replace(self, number=Range(number, number), nan=False)

    def join(self, other: Read) -> Read:
        """Return what is in one of both, or between.

        Args:
            other: The other set.
        """
        return Read(self.text.join(other.text), _join(self.number, other.number), self.nan or other.nan)

    def meet(self, other: Read) -> Read | None:
        """Return what is in both; None where nothing is.

        Args:
            other: The other set.
        """
        text = self.text.meet(other.text)
        number = self.number.meet(other.number) if self.number and other.number else None
        return None if text is None else Read(text, number, self.nan and other.nan).settled()


def _join(first: Range | None, second: Range | None) -> Range | None:
    return first.join(second) if first and second else first or second


def _join_read(first: Read | None, second: Read | None) -> Read | None:
    return first.join(second) if first and second else first or second


@dataclass(frozen=True, slots=True)
class Values:
    """A set of values.

    Args:
        exact: Values that are known one by one. ``{}`` stands for every object: none is looked into when values are
            compared. ``MISSING`` stands for nothing at all.
        number: Further numbers.
        nan: Whether NaN, or an infinity that was computed, is among them.
        texts: Further texts.
        lists: Further lists.
    """

    exact: tuple[Any, ...] = ()
    number: Range | None = None
    nan: bool = False
    texts: Read | None = None
    lists: Read | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it."""
        return not (self.exact or self.number or self.nan or self.texts or self.lists)

    @property
    def is_exact(self) -> bool:
        """Whether every value is known."""
        return not (self.number or self.nan or self.texts or self.lists)

    @property
    def kinds(self) -> frozenset[str]:
        """The JSON types of what is in it; nothing at all counts as null."""
        found = {_kind(value) for value in self.exact}
        found |= {"number"} if self.number or self.nan else set()
        found |= {"string"} if self.texts else set()
        return frozenset(found | ({"array"} if self.lists else set()))

    def meet(self, other: Values) -> Values:
        """Return what is in both.

        Args:
            other: The other set.
        """
        exact = [value for value in self.exact if other._admits(value)]
        exact += [value for value in other.exact if self._admits(value)]
        return Values(
            _distinct(exact),
            self.number.meet(other.number) if self.number and other.number else None,
            self.nan and other.nan,
            self.texts.meet(other.texts) if self.texts and other.texts else None,
            self.lists.meet(other.lists) if self.lists and other.lists else None,
        )

    def _admits(self, value: Any) -> bool:
        if _mark(value) in map(_mark, self.exact):
            return True
        if is_number(value):
            return self.number is not None and self.number.holds(value)
        if isinstance(value, str):
            return bool(value) and self.texts is not None and _is_read_in(value, self.texts)
        return isinstance(value, list) and bool(value) and self.lists is not None

    # -- narrowing ----------------------------------------------------------------------------------------------------

    def where(self, holds: Callable[[Any], bool]) -> Values:
        """Return the set with those of the known values for which a test holds.

        Args:
            holds: The test.
        """
        exact = tuple([value for value in self.exact if holds(value)])
        return Values(exact, self.number, self.nan, self.texts, self.lists)

    def where_true(self, truth: bool, missing: Any = None) -> Values:
        """Return those that JSONLogic takes for true, or for false.

        Args:
            truth: Which.
            missing: What stands for nothing at all.
        """
        known = self.where(lambda value: truthy(_actual(value, missing)) is truth)
        if truth:
            return replace(known, number=self.number and self.number.only("!=", 0), nan=self.nan)
        return replace(known, number=self.number and self.number.only("==", 0), texts=None, lists=None)

    def where_compared(self, name: str, other: Any, holds: bool, missing: Any = None) -> Values:
        """Return those for which a comparison with a constant holds, or does not.

        Args:
            name: The comparison, but not ``in``; the values are on its left.
            other: The constant.
            holds: Whether it is to hold.
            missing: What stands for nothing at all.
        """
        compare: Any = CLASSIC[name].function
        known = self.where(lambda value: bool(compare(None, _actual(value, missing), other)) is holds)
        if name in ("!=", "!=="):
            name, holds = name.replace("!", "=", 1), not holds
        relation = "==" if name in ("==", "===") else name
        number, nan = _narrowed(self.number, self.nan, relation, _reading("number", name, other), holds)
        texts = self.texts and _narrowed_read(self.texts, relation, _reading("string", name, other), holds)
        lists = self.lists and _narrowed_read(self.lists, relation, _reading("array", name, other), holds)
        return Values(known.exact, number, nan, texts, lists)._pinned()

    def where_in(self, members: list[Any], holds: bool, missing: Any = None) -> Values:
        """Return those that are in a list of constants, or are not.

        Args:
            members: The list.
            holds: Whether they are to be.
            missing: What stands for nothing at all.
        """
        contains: Any = CLASSIC["in"].function
        known = self.where(lambda value: bool(contains(None, _actual(value, missing), members)) is holds)
        numbers = [member for member in members if is_number(member)]
        texts = [member for member in members if isinstance(member, str)]
        if not holds:
            number, read = self.number, self.texts
            for member in numbers:
                number = number and number.only("!=", member)
            for member in texts:
                read = read and _narrowed_read(read, "!=", ("text", member), True)
            return replace(known, number=number, texts=read)
        found = [*known.exact, *(member for member in (*numbers, *texts) if self._admits(member))]
        return Values(_distinct(found))

    def where_containing(self, needle: Any, holds: bool, missing: Any = None) -> Values:
        """Return those in which a constant is found by ``in``, or is not.

        Args:
            needle: The constant.
            holds: Whether it is to be found.
            missing: What stands for nothing at all.
        """
        contains: Any = CLASSIC["in"].function
        known = self.where(lambda value: bool(contains(None, needle, _actual(value, missing))) is holds)
        if holds:
            return replace(known, number=None, nan=False)
        return replace(known, texts=None) if to_text(needle) == "" else known

    def _pinned(self) -> Values:
        """Return the same, a range that is a single number or text being a known value."""
        number, texts = self.number, self.texts
        if not (number and number.is_point) and not (texts and texts.text.is_point):
            return self
        exact = list(self.exact)
        if number is not None and number.is_point:
            exact.append(number.low)
            number = None
        if texts is not None and texts.text.is_point:
            exact.append(texts.text.low)
            texts = None
        return Values(_distinct(exact), number, self.nan, texts, self.lists)


def _actual(value: Any, missing: Any) -> Any:
    return missing if value is MISSING else value


def _is_read_in(text: str, read: Read) -> bool:
    return read.meet(Read(Range(text, text))) is not None


def _kind(value: Any) -> str:
    if value is None or value is MISSING:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "number"


def _mark(value: Any) -> tuple[str, str]:
    return (_kind(value), repr(value)) if value is not MISSING else ("missing", "")


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple({_mark(value): value for value in values}.values())


_Reading = tuple[str, Any] | None
"""As what a value is compared with a constant, ``"number"`` or ``"text"``, and the constant read in the same way; None
where the comparison never holds."""


def _reading(kind: str, name: str, other: Any) -> _Reading:
    """Tell how a comparison reads values of a kind; see ``loose_equal``, ``strict_equal`` and ``comparable``."""
    is_composite = isinstance(other, list | dict)
    if name == "===":
        if kind == "number":
            return ("number", other) if is_number(other) else None
        return ("text", other) if kind == "string" and isinstance(other, str) else None
    if name == "==":
        if other is None or (kind == "array" and is_composite):
            return None
        reads_text = (kind == "string" and is_composite) or (kind != "number" and isinstance(other, str))
    else:
        reads_text = kind != "number" and (is_composite or isinstance(other, str))
    return ("text", to_text(other)) if reads_text else ("number", to_number(other))


def _narrowed(
    number: Range | None, nan: bool, relation: str, reading: _Reading, holds: bool
) -> tuple[Range | None, bool]:
    if reading is None or reading[1] != reading[1]:
        return (None, False) if holds else (number, nan)
    # What stands for NaN stands for infinities too, so nothing is known of it.
    return (number and number.only(relation, reading[1], holds)), nan


def _narrowed_read(read: Read, relation: str, reading: _Reading, holds: bool) -> Read | None:
    if reading is None or reading[1] != reading[1]:
        return None if holds else read
    if reading[0] == "number":
        number = read.number and read.number.only(relation, reading[1], holds)
        return replace(read, number=number, nan=read.nan and not holds).settled()
    text = read.text.only(relation, reading[1], holds)
    return None if text is None else replace(read, text=text).settled()


# -- making -----------------------------------------------------------------------------------------------------------

NOTHING = Values()
"""No value."""

BOOLEANS = Values((True, False))
"""True and false."""

ANYTHING = Values((None, True, False, "", [], {}), NUMBERS, True, Read(FILLED_TEXTS), Read())
"""Every value, but something."""


def constant(value: Any) -> Values:
    """Return the set of one value of a rule.

    Args:
        value: The value; a number that is none, or infinite, is not told from others.
    """
    if isinstance(value, float) and (value != value or value in (INFINITY, -INFINITY)):
        return Values(number=NUMBERS, nan=True)
    return Values((value,))


def truths(can_hold: bool, can_fail: bool) -> Values:
    """Return a set of booleans.

    Args:
        can_hold: Whether true is in it.
        can_fail: Whether false is.
    """
    return Values((*((True,) if can_hold else ()), *((False,) if can_fail else ())))


def join(sets: Iterable[Values]) -> Values:
    """Return everything that is in one of some sets.

    Args:
        sets: The sets.
    """
    joined = NOTHING
    for other in sets:
        joined = Values(
            _distinct((*joined.exact, *other.exact)),
            _join(joined.number, other.number),
            joined.nan or other.nan,
            _join_read(joined.texts, other.texts),
            _join_read(joined.lists, other.lists),
        )
    return joined
