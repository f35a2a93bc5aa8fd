"""Findings about one comparison, and about one variable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any, NamedTuple

from automate_core.errors import nearby
from automate_core.redaction import redact, redact_text
from automate_core.rules.coercion import is_number
from automate_core.rules.display import REDACTED
from automate_core.rules.lint.concealment import reads_secret
from automate_core.rules.lint.findings import Finding, Severity, enumerated, phrase
from automate_core.rules.lint.judge import Judge
from automate_core.rules.lint.known import Known, Path, is_constant, variable
from automate_core.rules.lint.places import Place
from automate_core.rules.operators import CLASSIC
from automate_core.rules.sentences import quote

__all__ = ["Comparison", "check_comparison", "check_path"]

_KIND_NAMES = {
    "string": "text",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_ORDERINGS = frozenset({">", ">=", "<", "<="})
_EQUALITIES = frozenset({"==", "==="})
_MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
_READERS = {"date-time": datetime.fromisoformat, "date": date.fromisoformat, "time": time.fromisoformat}
_BEGINNING = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
_EXAMPLES = {"date-time": "2026-01-31T12:00:00Z", "date": "2026-01-31", "time": "12:00:00"}


class Comparison(NamedTuple):
    """A comparison of a variable with a constant.

    Args:
        name: The operator, as if the variable stood on the left.
        path: The path of the variable.
        default: Its default.
        has_default: Whether it has one.
        constant: The constant.
        is_haystack: Whether ``in`` looks for the constant in the variable.
        is_secret: Whether the variable may hold a secret, so that its values are not shown.
    """

    name: str
    path: Path
    default: Any
    has_default: bool
    constant: Any
    is_haystack: bool = False
    is_secret: bool = False

    @classmethod
    def read(cls, name: str, given: list[Any], is_secret: bool = False) -> Comparison | None:
        """Take a comparison apart; None where it is not one of a variable with a constant."""
        for at, (side, other) in enumerate(((given[0], given[1]), (given[1], given[0]))):
            found = variable(side)
            if found is not None and is_constant(other):
                written = side["var"]
                has_default = isinstance(written, list) and len(written) > 1
                mirrored = _MIRRORED.get(name, name) if at else name
                hidden = is_secret or reads_secret(side)
                return cls(mirrored, *found, has_default, other, name == "in" and at == 1, hidden)
        return None

    @property
    def label(self) -> str:
        """The variable, for sentences."""
        return redact_text(".".join(self.path)) or "the value itself"

    def quote(self, value: Any) -> str:
        """Write a value of the variable, or one that it is compared with, for sentences."""
        return REDACTED if self.is_secret and value is not None and type(value) is not bool else quote(redact(value))


def check_path(path: Path, place: Place, pointer: str) -> Iterator[Finding]:
    """Check whether there may be something at a path.

    Args:
        path: The path.
        place: Where it begins.
        pointer: Where in the rule it is.

    Yields:
        The finding that there is not.
    """
    for at, part in enumerate(path):
        if place.objection(part) is not None:
            shown = [redact_text(name) for name in path]
            said = f"the schema of {'.'.join(shown[:at])!r}" if at else "the schema"
            message = f"There is no variable {'.'.join(shown)!r}: {said} {place.objection(shown[at])}"
            yield Finding("unknown-variable", Severity.ERROR, pointer, message)
            return
        place = place.beneath((part,))


def check_comparison(
    found: Comparison, rule: Any, pointer: str, known: Known, around: Known, judge: Judge
) -> Iterator[Finding]:
    """Check one comparison of a variable with a constant.

    Args:
        found: The comparison.
        rule: The same, as it is written.
        pointer: Where in the rule it is.
        known: What the schema says.
        around: What is known where the conditions beside it hold.
        judge: Judges.

    Yields:
        One finding at the most about each thing.
    """
    truth = judge.truth(rule, known)
    place = known.place.beneath(found.path)
    kinds = known.at(found.path).kinds - {"null"}
    if place.is_described and kinds and _is_mismatch(found, kinds):
        yield _mismatch(found, kinds, truth, pointer, rule)
    elif truth is not None:
        yield _decided(found, rule, truth, pointer, known)
    else:
        yield from _check_members(found, pointer, known, judge, rule)
        if place.is_described:
            yield from _check_format(found, place, pointer)
            yield from _check_missing(found, pointer, around)


def _is_mismatch(found: Comparison, kinds: frozenset[str]) -> bool:
    if found.is_haystack:
        return not kinds & {"string", "array"}
    if found.name == "in":
        members = found.constant if isinstance(found.constant, list) else None
        if members is None:
            return not isinstance(found.constant, str)
        return bool(members) and not any(_kind(member) in kinds or member is None for member in members)
    kind = _kind(found.constant)
    return kind != "null" and kind not in kinds


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if is_number(value) else "array" if isinstance(value, list) else "object"


def _mismatch(found: Comparison, kinds: frozenset[str], truth: bool | None, pointer: str, rule: Any) -> Finding:
    is_what = f"{found.label} is {enumerated(sorted(_KIND_NAMES[kind] for kind in kinds))}"
    if found.is_haystack:
        reason = f"{is_what}, and 'in' looks into text and lists alone"
    elif found.name == "in" and not isinstance(found.constant, list | str):
        kind = _KIND_NAMES[_kind(found.constant)]
        reason = f"'in' looks into text and lists alone, and {found.quote(found.constant)} is {kind}"
    elif found.name == "in":
        reason = f"{is_what}, and nothing of that kind is in {found.quote(found.constant)}"
    else:
        reason = f"{is_what}, and {found.quote(found.constant)} is {_KIND_NAMES[_kind(found.constant)]}"
    if truth is None:
        more = "one is read as the other. Compare what is of one type."
        return Finding("type-mismatch", Severity.WARNING, pointer, f"{reason}: {more}")
    more = f"{phrase(rule, found.is_secret)!r} is always {_word(truth)}. Compare what is of one type."
    return Finding("type-mismatch", Severity.ERROR, pointer, f"{reason}: {more}")


def _word(truth: bool) -> str:
    return "true" if truth else "false"


def _decided(found: Comparison, rule: Any, truth: bool, pointer: str, known: Known) -> Finding:
    choices = _choices(found, known)
    hint = _hint(found, choices)
    code = "impossible-value" if hint else "always-true" if truth else "always-false"
    severity = Severity.WARNING if truth and not hint else Severity.ERROR
    reason = hint or "whatever the data that fits the schema. Correct it, or leave it out."
    said = f"{phrase(rule, found.is_secret)!r} is always {_word(truth)}"
    return Finding(code, severity, pointer, f"{said}{':' if hint else ','} {reason}")


def _choices(found: Comparison, known: Known) -> list[Any]:
    values = known.at(found.path)
    return [value for value in values.exact if isinstance(value, str | int | float)] if values.is_exact else []


def _hint(found: Comparison, choices: list[Any]) -> str:
    """Say which values there are, where a constant is none of them."""
    name = found.name
    if found.is_haystack or not choices or name in _ORDERINGS or found.constant in (None, ""):
        return ""
    members = found.constant if name == "in" and isinstance(found.constant, list) else [found.constant]
    strange = [member for member in members if not any(_equals(member, choice) for choice in choices)]
    if len(strange) < len(members) or not all(isinstance(member, str | int | float) for member in strange):
        return ""
    texts = [choice for choice in choices if isinstance(choice, str)]
    near = ""
    if strange and isinstance(strange[0], str) and texts and not found.is_secret:
        near = nearby(strange[0], texts)
    shown = enumerated(dict.fromkeys(found.quote(choice) for choice in choices[:8]))
    return f"{found.label} is {shown}.{near if near.startswith(' Did') else ''}" if strange else ""


def _equals(member: Any, choice: Any) -> bool:
    equal: Any = CLASSIC["=="].function
    return bool(equal(None, member, choice))


def _check_members(found: Comparison, pointer: str, known: Known, judge: Judge, rule: Any) -> Iterator[Finding]:
    if found.name != "in" or found.is_haystack or not isinstance(found.constant, list) or len(found.constant) < 2:
        return
    choices = _choices(found, known)
    for at, member in enumerate(found.constant):
        alone = {"in": [rule["in"][0], [member]]}
        if judge.truth(alone, known) is False:
            single = found._replace(constant=[member])
            hint = _hint(single, choices) or f"{found.label} is never {found.quote(member)}. Leave it out."
            message = f"{found.quote(member)} in the list never matters: {hint}"
            yield Finding("impossible-value", Severity.ERROR, f"{pointer}/in/1/{at}", message)


def _check_format(found: Comparison, place: Place, pointer: str) -> Iterator[Finding]:
    reads = place.formats & _READERS.keys()
    if len(reads) != 1 or len(place.formats) != 1 or not isinstance(found.constant, str) or found.name == "in":
        return
    (name,) = reads
    if found.name in _ORDERINGS and name != "time" and _BEGINNING.fullmatch(found.constant):
        return
    try:
        _READERS[name](found.constant)
    except ValueError:
        message = (
            f"{found.label} is text of the format {name}, and {found.quote(found.constant)} is not: they are "
            f"compared letter by letter. Write it as {_EXAMPLES[name]!r}."
        )
        yield Finding("format-mismatch", Severity.WARNING, pointer, message)


def _check_missing(found: Comparison, pointer: str, around: Known) -> Iterator[Finding]:
    if found.name not in _ORDERINGS or not is_number(found.constant) or found.has_default:
        return
    values = around.at(found.path)
    compare: Any = CLASSIC[found.name].function
    if "null" in values.kinds and bool(compare(None, None, found.constant)):
        message = (
            f"{found.label} may be missing or null, which counts as 0: '{found.label} {found.name} "
            f"{found.quote(found.constant)}' holds then. Test it before, for instance with {{'!=': [{{'var': "
            f"'{found.label}'}}, null]}}."
        )
        yield Finding("missing-counts", Severity.WARNING, pointer, message)
