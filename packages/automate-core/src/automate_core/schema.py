"""A subset of JSON Schema 2020-12: what pydantic generates and what people write for the input of an action.

Understood: ``type enum const properties required additionalProperties patternProperties propertyNames minProperties
maxProperties items prefixItems minItems maxItems uniqueItems minLength maxLength pattern minimum maximum
exclusiveMinimum exclusiveMaximum multipleOf anyOf oneOf allOf not``, ``$ref`` into the schema itself, ``$defs``, and
boolean schemas. Annotations (``title``, ``description``, ``default``, ``format``, …) are ignored. Any other keyword is
an error: a constraint is never silently left unchecked.

A ``pattern`` is a Python regular expression, searched for. Schemas come from the author of a connector and are trusted
as code is: a pattern that backtracks is the author's error. Messages never repeat the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from automate_core._schema_form import ensure_supported, resolve
from automate_core.errors import ConfigurationError, nearby
from automate_core.payload import MAX_DEPTH, json_pointer

__all__ = ["UNKNOWN", "Problem", "check", "find_problems", "supported"]

Path = tuple[str | int, ...]

_MAX_WORK_DEPTH = 150


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()
"""Stands, at any depth of a value, for a part that is known only later: it breaks no constraint."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a value.

    Args:
        pointer: JSON pointer to it; empty for the whole.
        message: What is wrong with it.
    """

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}"


def supported(schema: Any) -> None:
    """Refuse a schema that is malformed or uses what is not understood.

    Args:
        schema: A mapping, or a boolean.

    Raises:
        ConfigurationError: The message names the keyword; ``context["pointer"]`` says where in the schema it is.
    """
    ensure_supported(schema)


def check(schema: Any, value: Any) -> Problem | None:
    """Check a value against a schema.

    Args:
        schema: A mapping, or a boolean.
        value: A JSON value; :data:`UNKNOWN` may stand in it.

    Returns:
        The first problem, or None where the value fits.

    Raises:
        ConfigurationError: If the schema is malformed or uses what is not understood.
    """
    return next(iter(find_problems(schema, value)), None)


def find_problems(schema: Any, value: Any) -> list[Problem]:
    """Return everything that is wrong with a value.

    Args:
        schema: A mapping, or a boolean.
        value: A JSON value; :data:`UNKNOWN` may stand in it.

    Raises:
        ConfigurationError: If the schema is malformed or uses what is not understood.
    """
    ensure_supported(schema)
    if _is_too_deep(value):
        return [Problem("", f"is nested deeper than {MAX_DEPTH} levels")]
    return _Run(schema).apply(schema, value, ())


class _Run:
    """One validation: the root that references lead into, and what is being applied right now."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.depth = 0
        self.open_refs: set[tuple[str, Path]] = set()

    def apply(self, schema: Any, value: Any, path: Path) -> list[Problem]:
        if value is UNKNOWN or schema is True:
            return []
        if schema is False:
            return [Problem(json_pointer(path), "is not allowed")]
        if self.depth >= _MAX_WORK_DEPTH:
            raise ConfigurationError(
                f"The schema applies more than {_MAX_WORK_DEPTH} schemas within each other: flatten it.",
                context={"pointer": json_pointer(path)},
            )
        self.depth += 1
        found: list[Problem] = []
        for keyword, argument in schema.items():
            rule = _RULES.get(keyword)
            if rule is not None:
                found += rule(self, argument, schema, value, path)
        self.depth -= 1
        return found

    def fits(self, schema: Any, value: Any, path: Path) -> bool:
        return not self.apply(schema, value, path)


Rule = Callable[[_Run, Any, Mapping[str, Any], Any, Path], Collection[Problem]]


def _is_too_deep(value: Any) -> bool:
    pending = [(value, 1)]
    while pending:
        current, level = pending.pop()
        if level > MAX_DEPTH:
            return True
        if isinstance(current, dict):
            pending += [(child, level + 1) for child in current.values()]
        elif isinstance(current, (list, tuple)):
            pending += [(child, level + 1) for child in current]
    return False


# -- values -----------------------------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, (list, tuple)),
    "object": lambda value: isinstance(value, dict),
}


def _type_name(value: Any) -> str:
    return next((name for name, matches in _TYPES.items() if matches(value)), type(value).__name__)


def _identity(value: Any) -> Any:
    """Return something hashable that is equal for equal JSON values: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return ("object", frozenset((key, _identity(child)) for key, child in value.items()))
    if isinstance(value, (list, tuple)):
        return ("array", tuple([_identity(child) for child in value]))
    return (isinstance(value, bool), value)


def _has_unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_unknown, value.values()))
    return value is UNKNOWN or (isinstance(value, (list, tuple)) and any(map(_has_unknown, value)))


def _show(argument: Any) -> str:
    text = json.dumps(argument, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


# -- any value --------------------------------------------------------------------------------------------------------


def _type(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    wanted = [argument] if isinstance(argument, str) else argument
    if any(_TYPES[name](value) for name in wanted):
        return ()
    return [Problem(json_pointer(path), f"must be {' or '.join(wanted)}, not {_type_name(value)}")]


def _enum(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if _has_unknown(value) or _identity(value) in {_identity(item) for item in argument}:
        return ()
    return [Problem(json_pointer(path), f"must be one of {_show(argument)}")]


def _const(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if _has_unknown(value) or _identity(value) == _identity(argument):
        return ()
    return [Problem(json_pointer(path), f"must be {_show(argument)}")]


def _all_of(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    return [problem for branch in argument for problem in run.apply(branch, value, path)]


def _any_of(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    failures = []
    for branch in argument:
        found = run.apply(branch, value, path)
        if not found:
            return ()
        if branch != {"type": "null"}:
            failures.append(found)
    if len(failures) == 1:
        return failures[0]
    reasons = "; ".join(str(found[0].message) for found in failures[:4])
    return [Problem(json_pointer(path), f"fits none of the alternatives: {reasons}")]


def _one_of(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    fitting = sum(run.fits(branch, value, path) for branch in argument)
    if fitting == 0:
        return _any_of(run, argument, schema, value, path)
    if fitting == 1 or _has_unknown(value):
        return ()
    return [Problem(json_pointer(path), f"fits {fitting} alternatives, and must fit exactly one")]


def _not(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if _has_unknown(value) or not run.fits(argument, value, path):
        return ()
    return [Problem(json_pointer(path), "fits a schema that it must not fit")]


def _ref(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    step = (argument, path)
    if step in run.open_refs:
        raise ConfigurationError(f"The schema's $ref {argument!r} leads back to itself.", context={"pointer": argument})
    run.open_refs.add(step)
    found = run.apply(resolve(run.root, argument), value, path)
    run.open_refs.discard(step)
    return found


# -- objects ----------------------------------------------------------------------------------------------------------


def _properties(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if not isinstance(value, dict):
        return ()
    present = [name for name in argument if name in value]
    return [problem for name in present for problem in run.apply(argument[name], value[name], (*path, name))]


def _pattern_properties(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if not isinstance(value, dict):
        return ()
    matching = [(name, sub) for pattern, sub in argument.items() for name in value if re.search(pattern, str(name))]
    return [problem for name, sub in matching for problem in run.apply(sub, value[name], (*path, name))]


def _additional(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if not isinstance(value, dict):
        return ()
    known = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    extra = [name for name in value if name not in known and not any(re.search(p, str(name)) for p in patterns)]
    if argument is False:
        return [Problem(json_pointer((*path, name)), f"is not a property.{nearby(str(name), known)}") for name in extra]
    return [problem for name in extra for problem in run.apply(argument, value[name], (*path, name))]


def _property_names(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if not isinstance(value, dict):
        return ()
    return [
        Problem(json_pointer((*path, name)), f"has a name that does not fit: it {problem.message}")
        for name in value
        for problem in run.apply(argument, name, (*path, name))
    ]


def _required(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if not isinstance(value, dict):
        return ()
    return [Problem(json_pointer(path), f"lacks {name!r}, which is required") for name in argument if name not in value]


# -- arrays -----------------------------------------------------------------------------------------------------------


def _prefix_items(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if not isinstance(value, (list, tuple)):
        return ()
    pairs = enumerate(zip(argument, value, strict=False))
    return [problem for index, (sub, item) in pairs for problem in run.apply(sub, item, (*path, index))]


def _items(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if not isinstance(value, (list, tuple)):
        return ()
    start = len(schema.get("prefixItems", ()))
    rest = enumerate(value[start:], start)
    return [problem for index, item in rest for problem in run.apply(argument, item, (*path, index))]


def _unique_items(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if not argument or not isinstance(value, (list, tuple)) or _has_unknown(value):
        return ()
    if len({_identity(item) for item in value}) == len(value):
        return ()
    return [Problem(json_pointer(path), "holds an item twice")]


# -- numbers and sizes ------------------------------------------------------------------------------------------------


def _multiple_of(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if not _is_number(value) or value in (float("inf"), float("-inf")) or value != value:
        return ()
    if Fraction(str(value)) % Fraction(str(argument)) == 0:
        return ()
    return [Problem(json_pointer(path), f"must be a multiple of {argument}")]


def _pattern(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
    if not isinstance(value, str) or re.search(argument, value):
        return ()
    return [Problem(json_pointer(path), f"must match the pattern {_show(argument)}")]


def _bound(applies: Callable[[Any], bool], holds: Callable[[Any, Any], bool], text: str) -> Rule:
    def rule(run: _Run, argument: Any, schema: Any, value: Any, path: Path) -> Collection[Problem]:
        if not applies(value) or holds(value, argument):
            return ()
        return [Problem(json_pointer(path), text.format(argument))]

    return rule


_RULES: dict[str, Rule] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "$ref": _ref,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "propertyNames": _property_names,
    "required": _required,
    "minProperties": _bound(_TYPES["object"], lambda v, n: len(v) >= n, "must have {} properties at least"),
    "maxProperties": _bound(_TYPES["object"], lambda v, n: len(v) <= n, "must have {} properties at most"),
    "prefixItems": _prefix_items,
    "items": _items,
    "minItems": _bound(_TYPES["array"], lambda v, n: len(v) >= n, "must have {} items at least"),
    "maxItems": _bound(_TYPES["array"], lambda v, n: len(v) <= n, "must have {} items at most"),
    "uniqueItems": _unique_items,
    "minLength": _bound(_TYPES["string"], lambda v, n: len(v) >= n, "must have {} characters at least"),
    "maxLength": _bound(_TYPES["string"], lambda v, n: len(v) <= n, "must have {} characters at most"),
    "pattern": _pattern,
    "minimum": _bound(_is_number, lambda v, n: v >= n, "must be {} at least"),
    "maximum": _bound(_is_number, lambda v, n: v <= n, "must be {} at most"),
    "exclusiveMinimum": _bound(_is_number, lambda v, n: v > n, "must be more than {}"),
    "exclusiveMaximum": _bound(_is_number, lambda v, n: v < n, "must be less than {}"),
    "multipleOf": _multiple_of,
}
