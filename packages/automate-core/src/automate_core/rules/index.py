"""Which of many rules can match some data, without asking all of them.

A rule like ``amount >= 100 and customer == "c7"`` matches nothing where ``customer`` is something else. So it is filed
under ``customer == "c7"``, and looked up by what the data has for ``customer``. Only an equality that must hold is such
a term: the whole rule, or an operand of an ``and`` that is the whole rule or an operand of such an ``and``. What stands
below ``or``, ``if``, ``!`` or an array operator need not hold.

Looking up is coarser than comparing, never finer: values that any of ``==``, ``===`` and ``in`` takes for equal share a
place, and whoever asks evaluates what was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from automate_core.rules.coercion import plain, to_number, to_text
from automate_core.rules.comparisons import PAIRS, contains
from automate_core.rules.compiler import constant_path
from automate_core.rules.engine import CompiledRule
from automate_core.rules.limits import MAX_TEXT_BYTES
from automate_core.rules.operators import CLASSIC, Operator
from automate_core.rules.paths import MISSING, step, walk
from automate_core.rules.syntax import operands

__all__ = ["RuleIndex"]

_MOST_VALUES = 1_000
"""Values of an ``in`` under each of which a rule is filed; with more it has to have another term."""

_Path = tuple[str, ...]
K = TypeVar("K", bound=Hashable)


class _Term(NamedTuple):
    """What must hold: what is at a path equals one of some values, none of which is there twice."""

    path: _Path
    values: tuple[Hashable, ...]


class _Node(Generic[K]):
    """The rules that are filed under one path, by value, and what lies below it."""

    __slots__ = ("below", "filed")

    def __init__(self) -> None:
        self.filed: Mapping[Hashable, tuple[K, ...]] = {}
        self.below: dict[str, _Node[K]] = {}


class RuleIndex(Generic[K]):
    """Rules by what must hold for them to match. It never changes, so that any number of threads may ask it.

    Each rule is filed once, under that of its terms which the fewest other rules have. One without a term is a
    candidate for all data.

    Args:
        rules: The rules, each under a key of its own; None for what matches everything.

    Raises:
        ValueError: If a key is given twice.
    """

    __slots__ = ("_always", "_filed", "_null", "_places", "_root")

    _always: tuple[K, ...]
    """Those without a term."""

    _filed: dict[K, _Term | None]
    """Where each is filed."""

    _places: dict[_Path, dict[Hashable, tuple[K, ...]]]
    """What is filed, by path and value."""

    _null: list[tuple[_Path, tuple[K, ...]]]
    """What is filed under null, which also holds where nothing is."""

    _root: _Node[K]
    """The places again, as a tree."""

    def __init__(self, rules: Iterable[tuple[K, CompiledRule | None]] = ()) -> None:
        self._fill((), {}, {}, rules, ())

    def __len__(self) -> int:
        return len(self._filed)

    def __iter__(self) -> Iterator[K]:
        return iter(self._filed)

    def __contains__(self, key: object) -> bool:
        return key in self._filed

    @property
    def is_selective(self) -> bool:
        """Whether the candidates depend on the data."""
        return bool(self._places)

    def updated(self, add: Iterable[tuple[K, CompiledRule | None]] = (), remove: Iterable[K] = ()) -> RuleIndex[K]:
        """Return an index of other rules; what stays is not looked at again.

        Args:
            add: Rules that come, as for the constructor.
            remove: The keys of those that go. It is done first, so a key may be given another rule.

        Returns:
            The new index; this one stays as it is.

        Raises:
            KeyError: If a key that is to go is not there.
            ValueError: If a key that is to come is there, or given twice.
        """
        index: RuleIndex[K] = RuleIndex.__new__(RuleIndex)
        index._fill(self._always, self._filed, self._places, add, remove)
        return index

    def candidates(self, data: Any) -> list[K]:
        """Return the keys of the rules that data can match.

        Args:
            data: The data, as :attr:`CompiledRule.evaluate` takes it.

        Returns:
            Every rule that matches, and some that do not, in no order.
        """
        found = list(self._always)
        for path, keys in self._null:
            value = walk(data, path)
            if value is None or value is MISSING:
                found += keys
        if self._places and data is not None:
            _collect(self._root, data, found)
        return found

    # -- filing -----------------------------------------------------------------------------------------------------

    def _fill(
        self,
        always: tuple[K, ...],
        filed: dict[K, _Term | None],
        places: dict[_Path, dict[Hashable, tuple[K, ...]]],
        add: Iterable[tuple[K, CompiledRule | None]],
        remove: Iterable[K],
    ) -> None:
        self._filed = filed = dict(filed)
        gone = {key: filed.pop(key) for key in remove}
        come: dict[K, list[_Term]] = {}
        for key, rule in add:
            if key in filed or key in come:
                raise ValueError(f"The key {key!r} has a rule already: remove that first.")
            come[key] = [] if rule is None else list(_terms(rule))
        chosen = _choose(come, places)
        filed.update(chosen)
        kept = tuple(key for key in always if key not in gone)
        self._always = (*kept, *(key for key, term in chosen.items() if term is None))
        self._places = _refile(places, gone, chosen)
        self._null = [(path, values[None]) for path, values in self._places.items() if None in values]
        self._root = _tree(self._places)


def _choose(
    rules: Mapping[K, list[_Term]], places: Mapping[_Path, Mapping[Hashable, tuple[K, ...]]]
) -> dict[K, _Term | None]:
    """Return the term of each rule which it shares with the fewest; null is rare among rules and common in data."""
    shared = Counter((term.path, value) for terms in rules.values() for term in terms for value in term.values)

    def commonness(term: _Term) -> tuple[bool, int]:
        there = places.get(term.path, {})
        return None in term.values, sum(shared[term.path, value] + len(there.get(value, ())) for value in term.values)

    return {key: min(terms, key=commonness, default=None) for key, terms in rules.items()}


def _refile(
    places: Mapping[_Path, dict[Hashable, tuple[K, ...]]],
    gone: Mapping[K, _Term | None],
    come: Mapping[K, _Term | None],
) -> dict[_Path, dict[Hashable, tuple[K, ...]]]:
    """Return the places after a change; those that it does not concern are shared."""
    fewer, more = _by_place(gone), _by_place(come)
    changed = dict(places)
    for path in fewer.keys() | more.keys():
        values = changed[path] = dict(places.get(path, {}))
        for value, keys in fewer.get(path, {}).items():
            leaving = set(keys)
            values[value] = tuple(key for key in values[value] if key not in leaving)
        for value, keys in more.get(path, {}).items():
            values[value] = (*values.get(value, ()), *keys)
        for value in [value for value in fewer.get(path, ()) if not values[value]]:
            del values[value]
        if not values:
            del changed[path]
    return changed


def _by_place(filed: Mapping[K, _Term | None]) -> dict[_Path, dict[Hashable, list[K]]]:
    found: dict[_Path, dict[Hashable, list[K]]] = {}
    for key, term in filed.items():
        if term is not None:
            values = found.setdefault(term.path, {})
            for value in term.values:
                values.setdefault(value, []).append(key)
    return found


def _tree(places: Mapping[_Path, dict[Hashable, tuple[K, ...]]]) -> _Node[K]:
    root: _Node[K] = _Node()
    for path, values in places.items():
        node = root
        for part in path:
            node = node.below.setdefault(part, _Node())
        node.filed = values
    return root


def _collect(node: _Node[K], value: Any, found: list[K]) -> None:
    """Add what is filed under a value and whatever is in it; a path has no more than 64 parts."""
    if node.filed:
        found += node.filed.get(_place(value), ())
    below = node.below
    if type(value) is not dict:
        for part, child in below.items():
            if (item := step(value, part)) is not None:
                _collect(child, item, found)
    elif len(value) < len(below):
        for part, item in value.items():
            if item is not None and (known := below.get(part)) is not None:
                _collect(known, item, found)
    else:
        for part, child in below.items():
            if (item := value.get(part)) is not None:
                _collect(child, item, found)


# -- what must hold --------------------------------------------------------------------------------------------------


def _place(value: Any) -> Hashable:
    """Return what a value that is not null has in common with all that equal it.

    ``==`` compares a text with a text, and otherwise numbers where one side is a number, true or false. So that is the
    number of a text that is one, and the text of any other. A list counts as its text, an object and what is not JSON
    as that of every object. ``===`` and ``in`` a list are stricter. Python has true and 1, and 1 and 1.0, in one place.
    """
    kind = type(value)
    if kind is not str:
        value = plain(value)
        if type(value) in _NUMBERS:
            return value  # type: ignore[no-any-return] # the type was just checked
        # No constant is longer than this, so a text that is cut off equals none.
        value = to_text(value, None, MAX_TEXT_BYTES + 1)
    number = to_number(value)
    return value if number != number else number


_NUMBERS = frozenset({int, float, bool})


def _terms(rule: CompiledRule) -> Iterator[_Term]:
    """Yield the equalities without which a rule matches nothing."""
    engine, spec, _ = rule._made
    operators, waiting = engine.operators, [spec]
    while waiting:
        part = waiting.pop()
        if type(part) is not dict or not part:
            continue
        name, given, _ = operands(part)
        if not _is_classic(name, operators):
            continue
        if name == "and":
            waiting += given
        elif name == "in":
            yield from _membership(given[0], given[1], operators)
        elif name in ("==", "==="):
            yield from _equality(name, given[0], given[1], operators)
            yield from _equality(name, given[1], given[0], operators)


def _is_classic(name: str, operators: Mapping[str, Operator]) -> bool:
    """Whether an operator of an engine does what is known of it here."""
    return operators.get(name) is CLASSIC.get(name)


def _equality(name: str, variable: Any, constant: Any, operators: Mapping[str, Operator]) -> Iterator[_Term]:
    if type(constant) in (dict, list) or (read := _variable(variable, operators)) is None:
        return
    path, default = read
    if default is None or not PAIRS[name](default, constant):
        yield _Term(path, (None if constant is None else _place(constant),))


def _membership(variable: Any, items: Any, operators: Mapping[str, Operator]) -> Iterator[_Term]:
    if type(items) is not list or len(items) > _MOST_VALUES or (read := _variable(variable, operators)) is None:
        return
    if any(type(item) is dict and item for item in items):
        return  # an operation
    path, default = read
    scalars = [item for item in items if type(item) not in (dict, list)]  # the others equal nothing
    if default is None or not contains(None, default, scalars):
        places = [None if item is None else _place(item) for item in scalars]
        yield _Term(path, tuple(dict.fromkeys(places)))


def _variable(part: Any, operators: Mapping[str, Operator]) -> tuple[_Path, Any] | None:
    """Read a variable: its path and its default; None for anything else, and where the default is computed."""
    if type(part) is not dict or "var" not in part or not _is_classic("var", operators):
        return None
    _, given, _ = operands(part)
    path = constant_path({"var": given[:1]})
    default = given[1] if len(given) > 1 else None
    return None if path is None or type(default) in (dict, list) else (path, default)
