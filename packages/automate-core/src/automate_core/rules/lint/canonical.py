"""One text for rules that mean the same: order, spelling and double negations do not matter."""

from __future__ import annotations

import json
from typing import Any

from automate_core.rules.coercion import to_text
from automate_core.rules.operators import CLASSIC
from automate_core.rules.syntax import operands

__all__ = ["canonical_text"]

_MIRRORED = {">": "<", ">=": "<="}
_NEGATED = {"!=": "==", "!==": "==="}
_TESTED = frozenset({"all", "filter", "none", "some"})


def canonical_text(rule: Any) -> str:
    """Return a text that is the same for rules that are true for the same data, as far as their form tells.

    Args:
        rule: A checked rule.
    """
    return _written(_condition(rule))


def _written(form: Any) -> str:
    # A rule may hold what no payload may: any text, and as many levels as a rule has.
    return json.dumps(form, sort_keys=True, separators=(",", ":"))


def _condition(rule: Any) -> Any:
    """Return the form of a rule of which only the truth matters."""
    if type(rule) is not dict or not rule:
        return _value(rule)
    name, given, _ = operands(rule)
    if name in ("and", "or") and given:
        parts: dict[str, Any] = {}
        for part in _flattened(name, given):
            form = _condition(part)
            parts[_written(form)] = form
        return next(iter(parts.values())) if len(parts) == 1 else {name: [parts[text] for text in sorted(parts)]}
    if name == "!!" and given:
        return _condition(given[0])
    if name == "!" and given:
        return _negation(_condition(given[0]))
    return _value(rule)


def _negation(form: Any) -> Any:
    if type(form) is dict and "!" in form:
        return form["!"]
    return {"!": form}


def _flattened(name: str, given: list[Any]) -> list[Any]:
    found: list[Any] = []
    for part in given:
        inner = part.get(name) if type(part) is dict else None
        found += _flattened(name, inner) if type(inner) is list and inner else [part]
    return found


def _value(rule: Any) -> Any:
    """Return the form of a rule whose value matters."""
    if type(rule) is list:
        return [_value(item) for item in rule]
    if type(rule) is not dict or not rule:
        return rule
    name, given, _ = operands(rule)
    operator = CLASSIC.get(name)
    given = given if operator is None else given[: operator.used]
    if name == "var":
        return _variable(given)
    if name in ("!", "!!") and given:
        form = _condition(given[0])
        return _negation(form) if name == "!" else {"!!": form}
    forms = [_value(part) for part in given]
    if name in _TESTED:
        forms[1] = _condition(given[1])
    if name in _MIRRORED and len(forms) == 2:
        name, forms = _MIRRORED[name], forms[::-1]
    if name in ("==", "===", "!=", "!=="):
        forms.sort(key=_written)
    if name in _NEGATED:
        return {"!": {_NEGATED[name]: forms}}
    return {"if" if name == "?:" else name: forms}


def _variable(given: list[Any]) -> Any:
    path = given[0] if given else None
    path = _value(path) if isinstance(path, dict | list) else "" if path is None else to_text(path)
    default = _value(given[1]) if len(given) > 1 else None
    return {"var": path} if default is None else {"var": [path, default]}
