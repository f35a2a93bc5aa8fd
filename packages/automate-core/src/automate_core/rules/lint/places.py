"""Places in data that fits a JSON Schema: what may stand there, and what lies beneath.

A place is a choice of alternatives (``anyOf``, ``oneOf``), each of which is several schemas that hold together
(``allOf``, ``$ref``). What is not understood here (``not``, ``pattern``) only makes a place wider than it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import product
from typing import Any

from automate_core._schema_form import resolve
from automate_core.errors import nearby
from automate_core.rules.coercion import INFINITY
from automate_core.rules.lint.ranges import FILLED_TEXTS, NUMBERS, Range, make_range
from automate_core.rules.lint.values import ANYTHING, NOTHING, Read, Values, constant, join
from automate_core.rules.paths import MISSING

__all__ = ["ANYWHERE", "Place", "place_of"]

Flat = Mapping[str, Any]
Alternative = tuple[Flat, ...]

_MAX_ALTERNATIVES = 64
_MAX_REFERENCES = 40
_EVERY_TYPE = ("null", "boolean", "number", "string", "array", "object")
_COMBINING = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
_POSITION = re.compile(r"0|[1-9][0-9]{0,14}")


@dataclass(frozen=True)
class Place:
    """A place in the data.

    Args:
        alternatives: What may stand there; an alternative without schemas is anything.
        root: The schema into which references lead.
        may_lack: Whether nothing at all may stand there.
    """

    alternatives: tuple[Alternative, ...]
    root: Any = field(default=True, repr=False)
    may_lack: bool = False

    @cached_property
    def values(self) -> Values:
        """What may stand there."""
        sets = [_set_of(schemas) for schemas in self.alternatives]
        return join([*sets, Values((MISSING,)) if self.may_lack else NOTHING])

    @cached_property
    def is_described(self) -> bool:
        """Whether a schema says something about it."""
        return all(self.alternatives) and bool(self.alternatives)

    @cached_property
    def formats(self) -> frozenset[str]:
        """The formats of the texts that may stand there; empty where one has none."""
        found = [
            {str(schema["format"]) for schema in schemas if "format" in schema}
            for schemas in self.alternatives
            if "string" in _set_of(schemas).kinds
        ]
        return frozenset().union(*found) if all(found) else frozenset()

    @cached_property
    def _entered(self) -> dict[str, Place]:
        return {}

    def beneath(self, path: Sequence[str]) -> Place:
        """Return the place at the end of a path.

        Args:
            path: Keys, and positions in lists and texts.
        """
        place = self
        for part in path:
            if part not in place._entered:
                place._entered[part] = place.enter(part)
            place = place._entered[part]
        return place

    def enter(self, part: str) -> Place:
        """Return the place beneath.

        Args:
            part: A key, or a position in a list or a text.
        """
        found: list[Alternative] = []
        may_lack = self.may_lack
        for schemas in self.alternatives:
            kinds = _set_of(schemas).kinds
            may_lack = may_lack or not kinds <= {"object", "array"}
            if "object" in kinds:
                found += self._expanded([sub for schema in schemas for sub in _property(schema, part)])
                may_lack = may_lack or not any(part in schema.get("required", ()) for schema in schemas)
            if "array" in kinds:
                beneath = [_item(schema, int(part)) for schema in schemas] if _POSITION.fullmatch(part) else [False]
                found += self._expanded(beneath)
                may_lack = may_lack or not any(_is_always_there(schema, part) for schema in schemas)
            if "string" in kinds and _POSITION.fullmatch(part):
                found.append(({"type": "string", "minLength": 1, "maxLength": 1},))
        return Place(_limited(found), self.root, may_lack)

    def items(self) -> Place:
        """Return the place of an item, for what goes through a list."""
        found: list[Alternative] = []
        for schemas in self.alternatives:
            if "array" in _set_of(schemas).kinds:
                count = max([len(schema.get("prefixItems", ())) for schema in schemas], default=0)
                for position in range(count + 1):
                    found += self._expanded([_item(schema, position) for schema in schemas])
        return Place(_limited(found), self.root)

    def objection(self, part: str) -> str | None:
        """Say why a path cannot go on here: the schema names nothing of that name.

        Args:
            part: The next part of the path.

        Returns:
            The end of a sentence; None where there may be something.
        """
        names: set[str] = set()
        kinds: set[str] = set()
        for schemas in self.alternatives:
            own = _set_of(schemas).kinds
            kinds |= own
            if "object" in own and _is_named(schemas, part):
                return None
            if own & {"array", "string"} and _POSITION.fullmatch(part):
                return None
            names.update(name for schema in schemas for name in schema.get("properties", ()))
        if "object" in kinds:
            return f"declares no {part!r}.{nearby(part, names)}"
        if "array" in kinds:
            return f"declares a list, which has no {part!r}: go through it with 'some', 'all', 'none' or 'filter'."
        found = " or ".join(sorted(kinds - {"null"})) or "null"
        return f"declares the type {found}, with nothing beneath." if self.alternatives else None

    def _expanded(self, schemas: Sequence[Any]) -> Iterator[Alternative]:
        """Yield the alternatives of schemas that hold together."""
        choices = [_expand(schema, self.root, 0) for schema in schemas]
        if _count(choices) > _MAX_ALTERNATIVES:
            yield ()
            return
        for chosen in product(*choices):
            yield tuple(flat for alternative in chosen for flat in alternative)


def _count(choices: Sequence[Sequence[Alternative]]) -> int:
    return reduce(lambda total, choice: total * len(choice), choices, 1)


def _limited(found: list[Alternative]) -> tuple[Alternative, ...]:
    return tuple(found) if len(found) <= _MAX_ALTERNATIVES else ((),)


def place_of(schema: Any) -> Place:
    """Return the place of the whole data.

    Args:
        schema: Its JSON Schema, supported.
    """
    return Place(_limited(list(_expand(schema, schema, 0))), schema)


def _expand(schema: Any, root: Any, depth: int) -> list[Alternative]:
    """Return the alternatives of a schema, without references and combinations."""
    if schema is True or not schema:
        return [()] if schema is not False else []
    if depth > _MAX_REFERENCES:
        return [()]
    own = {keyword: argument for keyword, argument in schema.items() if keyword not in _COMBINING}
    together: list[list[Alternative]] = [[(own,)]] if own else [[()]]
    if "$ref" in schema:
        together.append(_expand(resolve(root, schema["$ref"]), root, depth + 1))
    together += [_expand(sub, root, depth + 1) for sub in schema.get("allOf", ())]
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            together.append([found for sub in schema[keyword] for found in _expand(sub, root, depth + 1)])
    if _count(together) > _MAX_ALTERNATIVES:
        return [()]
    return [tuple(flat for alternative in chosen for flat in alternative) for chosen in product(*together)]


# -- one schema without references and combinations -------------------------------------------------------------------


_STORED = Values(ANYTHING.exact, NUMBERS, False, ANYTHING.texts, ANYTHING.lists)
"""Every JSON value, which NaN is not."""


def _set_of(schemas: Alternative) -> Values:
    return reduce(Values.meet, map(_values, schemas), _STORED)


def _values(schema: Flat) -> Values:
    written = schema.get("type", _EVERY_TYPE)
    types = {written} if isinstance(written, str) else set(written)
    exact: list[Any] = [None] if "null" in types else []
    exact += [True, False] if "boolean" in types else []
    exact += [{}] if "object" in types else []
    number = _number(schema, types)
    texts = lists = None
    if "string" in types:
        exact += [""] if not schema.get("minLength") else []
        texts = Read(FILLED_TEXTS) if schema.get("maxLength", 1) else None
    if "array" in types:
        exact += [[]] if not schema.get("minItems") else []
        lists = Read() if schema.get("maxItems", 1) else None
    found = Values(tuple(exact), number, texts=texts, lists=lists)
    for keyword in ("enum", "const"):
        if keyword in schema:
            members = schema["enum"] if keyword == "enum" else [schema["const"]]
            found = found.meet(join(map(_member, members)))
    return found


def _member(value: Any) -> Values:
    """Return the set of a value that a schema names; objects and lists are data like any other."""
    if isinstance(value, dict):
        return Values(({},))
    if isinstance(value, list | tuple):
        return Values(lists=Read()) if value else Values(([],))
    return constant(value)


def _number(schema: Flat, types: set[str]) -> Range | None:
    if not types & {"number", "integer"}:
        return None
    least, most = schema.get("minimum", -INFINITY), schema.get("maximum", INFINITY)
    above, below = schema.get("exclusiveMinimum", -INFINITY), schema.get("exclusiveMaximum", INFINITY)
    return make_range(
        Range(
            max(least, above),
            min(most, below),
            above="exclusiveMinimum" in schema and above >= least,
            below="exclusiveMaximum" in schema and below <= most,
            whole="number" not in types,
        )
    )


def _property(schema: Flat, name: str) -> Iterator[Any]:
    properties, matching = schema.get("properties", {}), _patterns(schema, name)
    if name in properties:
        yield properties[name]
    yield from matching
    if name not in properties and not matching:
        yield schema.get("additionalProperties", True)


def _patterns(schema: Flat, name: str) -> list[Any]:
    return [sub for pattern, sub in schema.get("patternProperties", {}).items() if re.search(pattern, name)]


def _is_named(schemas: Alternative, name: str) -> bool:
    """Whether schemas that hold together name a property, or say that there are others than they name."""
    if any(name in schema.get("properties", {}) or _patterns(schema, name) for schema in schemas):
        return True
    others = [schema["additionalProperties"] for schema in schemas if "additionalProperties" in schema]
    if others:
        return False not in [other is not False for other in others]
    return not any(schema.get("properties") for schema in schemas)


def _item(schema: Flat, position: int) -> Any:
    first = schema.get("prefixItems", ())
    return first[position] if position < len(first) else schema.get("items", True)


def _is_always_there(schema: Flat, part: str) -> bool:
    return _POSITION.fullmatch(part) is not None and int(part) < schema.get("minItems", 0)


ANYWHERE = Place(((),), may_lack=True)
"""A place about which nothing is known."""
