"""Which JSON Schemas are well formed and understood, and where their references lead."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from automate_core.errors import ConfigurationError, nearby
from automate_core.payload import json_pointer

Path = tuple[str | int, ...]

_MAX_DEPTH = 60
_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


def _is_count(argument: Any) -> bool:
    return isinstance(argument, int) and not isinstance(argument, bool) and argument >= 0


def _is_number(argument: Any) -> bool:
    return isinstance(argument, (int, float)) and not isinstance(argument, bool) and math.isfinite(argument)


def _is_names(argument: Any) -> bool:
    return isinstance(argument, (list, tuple)) and all(isinstance(name, str) for name in argument)


def _is_type(argument: Any) -> bool:
    names = [argument] if isinstance(argument, str) else argument
    return _is_names(names) and bool(names) and _TYPES.issuperset(names)


def _is_pattern(argument: Any) -> bool:
    try:
        re.compile(argument)
    except (re.error, TypeError, OverflowError, RecursionError):
        return False
    return isinstance(argument, str)


def _is_json(argument: Any) -> bool:
    pending = [(argument, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > _MAX_DEPTH:
            return False
        if isinstance(value, dict) and _is_names(list(value)):
            pending += [(child, depth + 1) for child in value.values()]
        elif isinstance(value, (list, tuple)):
            pending += [(child, depth + 1) for child in value]
        elif value is not None and not isinstance(value, (str, int, float, bool)):
            return False
    return True


def _is_local(ref: str) -> bool:
    return ref == "#" or ref.startswith("#/")


def _is_schema_map(argument: Any) -> bool:
    return isinstance(argument, Mapping) and _is_names(list(argument))


_COUNT = ("a whole number, 0 or more", _is_count)
_NUMBER = ("a number", _is_number)
_SCHEMA = ("a schema", lambda argument: isinstance(argument, (Mapping, bool)))
_SCHEMAS = ("a list of schemas", lambda argument: isinstance(argument, (list, tuple)) and bool(argument))
_SCHEMA_MAP = ("an object of schemas", _is_schema_map)

_FORMS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "type": (f"one of {', '.join(sorted(_TYPES))}, or a list of them", _is_type),
    "enum": ("a list of JSON values", lambda argument: isinstance(argument, (list, tuple)) and _is_json(argument)),
    "const": ("a JSON value", _is_json),
    "allOf": _SCHEMAS,
    "anyOf": _SCHEMAS,
    "oneOf": _SCHEMAS,
    "not": _SCHEMA,
    "$ref": ("a reference into the schema itself, '#' or '#/…'", lambda ref: isinstance(ref, str) and _is_local(ref)),
    "$defs": _SCHEMA_MAP,
    "definitions": _SCHEMA_MAP,
    "properties": _SCHEMA_MAP,
    "patternProperties": (
        "an object of schemas by regular expression",
        lambda argument: _is_schema_map(argument) and all(map(_is_pattern, argument)),
    ),
    "additionalProperties": _SCHEMA,
    "propertyNames": _SCHEMA,
    "required": ("a list of names", _is_names),
    "minProperties": _COUNT,
    "maxProperties": _COUNT,
    "prefixItems": _SCHEMAS,
    "items": ("a schema (a list of them is called prefixItems)", _SCHEMA[1]),
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "uniqueItems": ("true or false", lambda argument: isinstance(argument, bool)),
    "minLength": _COUNT,
    "maxLength": _COUNT,
    "pattern": ("a regular expression", _is_pattern),
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "exclusiveMinimum": _NUMBER,
    "exclusiveMaximum": _NUMBER,
    "multipleOf": ("a number above 0", lambda argument: _is_number(argument) and argument > 0),
}

_ANNOTATIONS = frozenset(
    {
        "$comment",
        "$id",
        "$schema",
        "contentEncoding",
        "contentMediaType",
        "default",
        "deprecated",
        "description",
        "discriminator",
        "example",
        "examples",
        "format",
        "readOnly",
        "title",
        "writeOnly",
    }
)


def ensure_supported(root: Any) -> None:
    """Refuse a schema that is malformed or uses what is not understood.

    Args:
        root: The schema.

    Raises:
        ConfigurationError: The message names the keyword; ``context["pointer"]`` says where it is.
    """
    pending: list[tuple[Any, Path]] = [(root, ())]
    seen: set[int] = set()
    while pending:
        schema, path = pending.pop()
        if isinstance(schema, bool) or id(schema) in seen:
            continue
        if not isinstance(schema, Mapping):
            raise _wrong(path, f"must be an object or a boolean, not {type(schema).__name__}")
        if len(path) > _MAX_DEPTH:
            raise _wrong(path[:3], f"is nested deeper than {_MAX_DEPTH} levels")
        seen.add(id(schema))
        for keyword, argument in schema.items():
            _ensure_keyword(keyword, argument, path)
            pending += _inner(keyword, argument, (*path, keyword))
            if keyword == "$ref":
                pending.append((resolve(root, argument), (*path, keyword)))


def _ensure_keyword(keyword: Any, argument: Any, path: Path) -> None:
    if keyword in _ANNOTATIONS:
        return
    if keyword not in _FORMS:
        raise _wrong(path, f"uses {keyword!r}, which is not supported.{nearby(str(keyword), _FORMS)}")
    form, holds = _FORMS[keyword]
    if not holds(argument):
        raise _wrong((*path, keyword), f"must be {form}, not {type(argument).__name__}")


def _inner(keyword: str, argument: Any, path: Path) -> Iterator[tuple[Any, Path]]:
    form = _FORMS.get(keyword, ("", None))[0]
    if form == _SCHEMAS[0]:
        yield from ((sub, (*path, index)) for index, sub in enumerate(argument))
    elif form.startswith("an object of schemas"):
        yield from ((sub, (*path, name)) for name, sub in argument.items())
    elif form.startswith("a schema"):
        yield argument, path


def resolve(root: Any, ref: str) -> Any:
    """Follow a reference into the schema.

    Args:
        root: The whole schema.
        ref: ``"#"`` or ``"#/…"``.

    Raises:
        ConfigurationError: If it leads nowhere.
    """
    current = root
    for part in unquote(ref[1:]).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        try:
            current = current[int(name)] if isinstance(current, (list, tuple)) else current[name]
        except (KeyError, IndexError, ValueError, TypeError):
            raise _wrong((), f"has a $ref {ref!r} that leads nowhere") from None
    return current


def _wrong(path: Path, reason: str) -> ConfigurationError:
    pointer = json_pointer(path)
    where = f"The JSON Schema at {pointer}" if pointer else "The JSON Schema"
    return ConfigurationError(f"{where} {reason.rstrip('.')}.", context={"pointer": pointer})
