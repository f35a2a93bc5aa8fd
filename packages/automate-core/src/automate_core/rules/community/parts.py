"""How the operators of the dialect are explained, where the classic forms do not fit."""

from __future__ import annotations

from functools import partial
from typing import Any

from automate_core.errors import RuleEvaluationError
from automate_core.rules import sentences
from automate_core.rules.coercion import truthy
from automate_core.rules.community.forms import Path, caught, checked_items, path_of, placed, value_at
from automate_core.rules.community.functions import COMPARISONS
from automate_core.rules.display import REDACTED
from automate_core.rules.failures import Failure
from automate_core.rules.form_parts import Operation, explain_first, explain_search, explain_transform, passed_on
from automate_core.rules.ledger import (
    Ledger,
    Part,
    Seen,
    computed,
    hide,
    is_redacted,
    names_secret,
    node_of,
    skipped,
)
from automate_core.rules.parts import PartMaker
from automate_core.rules.paths import MISSING

__all__ = ["array", "chain", "coalesce", "exists", "junction", "preserve", "rescue", "value_of"]


def _skip_rest(ledger: Ledger, operation: Operation, nodes: list[Any]) -> None:
    for at in range(len(nodes), len(operation.given)):
        nodes.append(skipped(ledger, operation.given[at], operation.place(at)))


def chain(maker: PartMaker, operation: Operation) -> Part:
    """Explain a chain by the pair that decides."""
    name, path, given = operation.operator.name, operation.path, operation.given
    first, *rest = maker.operands(operation)
    compare = placed(COMPARISONS[name], path)

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        seen = [first(context, hidden, ledger)]
        holds = True
        for part in rest:
            seen.append(part(context, hidden, ledger))
            holds = compare(seen[-2][0], seen[-1][0], ledger.budget(path))
            if not holds:
                break
        nodes = [part[1] for part in seen]
        if is_redacted(seen):
            for node in nodes:
                hide(ledger, node)
        if holds and len(nodes) > 2:
            reason = sentences.chain(name, len(nodes))
        else:
            reason = sentences.comparison(name, given[len(nodes) - 2 : len(nodes)], nodes[-2:], holds)
        _skip_rest(ledger, operation, nodes)
        return holds, node_of(ledger, name, path, holds, holds, nodes, reason), False

    return explain


def junction(maker: PartMaker, operation: Operation) -> Part:
    """Explain ``and`` and ``or``; without conditions they are false."""
    if operation.given:
        return explain_first(maker, operation)

    def explain(_context: Any, _hidden: bool, ledger: Ledger) -> Seen:
        reason = sentences.junction(False, [], 0)
        return computed(ledger, operation.operator.name, operation.path, False, [], reason, maker.look)

    return explain


def coalesce(maker: PartMaker, operation: Operation) -> Part:
    """Explain which value is the first that is not null."""
    parts, total = maker.operands(operation), len(operation.given)

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        nodes = []
        last: Seen | None = None
        for part in parts:
            last = part(context, hidden, ledger)
            nodes.append(last[1])
            if last[0] is not None:
                break
        reason = sentences.first_known(nodes, total, last is not None and last[0] is not None)
        _skip_rest(ledger, operation, nodes)
        return passed_on(ledger, operation, last, nodes, reason)

    return explain


def preserve(maker: PartMaker, operation: Operation) -> Part:
    """Explain what is written, as data."""
    value = operation.given if operation.listed else operation.given[0]

    def explain(_context: Any, _hidden: bool, ledger: Ledger) -> Seen:
        clean, redacted = maker.look(ledger, value)
        reason = sentences.constant(clean)
        return value, node_of(ledger, "preserve", operation.path, clean, truthy(value), [], reason), redacted

    return explain


def array(maker: PartMaker, operation: Operation) -> Part:
    """Explain what goes through a list, as the classic forms do, but for what is no list."""
    name = operation.operator.name
    explain = explain_search if name in ("all", "some", "none") else explain_transform
    return explain(maker, operation, partial(_items_of, name, operation.path))


def _items_of(name: str, path: str, value: Any) -> list[Any]:
    return checked_items(name, value, path)


def value_of(maker: PartMaker, operation: Operation) -> Part:
    """Explain a value that is read at a path of keys."""
    path, scope = Path(operation.given, operation.listed), operation.scope.path
    parts = maker.operands(operation)
    base = () if path.climb else scope

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        seen = [part(context, hidden, ledger) for part in parts]
        nodes = [part[1] for part in seen]
        keys = _keys(path, seen)
        found = value_at(ledger.scopes, context, path.climb, keys)
        name = sentences.variable(keys, base)
        if found is MISSING:
            reason = sentences.variable_missing(name)
            return None, node_of(ledger, "val", operation.path, None, False, nodes, reason), False
        places = base + keys
        clean, redacted = maker.look(ledger, found, places if names_secret(places, maker.secret_names) else ())
        # What lies in a scope around may be hidden as what lies in this one is.
        redacted = redacted or hidden or is_redacted(seen)
        if hidden or (redacted and not isinstance(clean, dict | list)):
            clean = REDACTED
            ledger.texts.append(clean)
        node = node_of(ledger, "val", operation.path, clean, truthy(found), nodes, sentences.variable_is(name, clean))
        return found, node, redacted

    return explain


def exists(maker: PartMaker, operation: Operation) -> Part:
    """Explain whether there is anything at a path of keys."""
    path, scope = Path(operation.given, operation.listed), operation.scope.path
    parts = maker.operands(operation)

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        seen = [part(context, hidden, ledger) for part in parts]
        keys = _keys(path, seen)
        there = value_at(ledger.scopes, context, path.climb, keys) is not MISSING
        reason = sentences.existence("the path" if is_redacted(seen) else sentences.variable(keys, scope), there)
        return computed(ledger, "exists", operation.path, there, seen, reason, maker.look)

    return explain


def _keys(path: Path, seen: list[Seen]) -> tuple[str, ...]:
    return path_of([part[0] for part in seen[path.offset :]]) if path.keys is None else path.keys


def rescue(maker: PartMaker, operation: Operation) -> Part:
    """Explain what is tried until something does not fail."""
    parts, given = maker.operands(operation), operation.given

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        scopes, nodes = ledger.scopes, []
        depth = len(scopes)
        try:
            for at, part in enumerate(parts):
                try:
                    result = part(context, hidden, ledger)
                    break
                except (Failure, RuleEvaluationError) as error:
                    if at == len(parts) - 1:
                        raise
                    del scopes[depth + 2 :]
                    if len(scopes) == depth:
                        scopes += (context, {})
                    context, what = caught(error), error.what if isinstance(error, Failure) else str(error.code)
                    hidden = hidden or what is None
                    node = skipped(ledger, given[at], operation.place(at))
                    reason = sentences.failed(what)
                    ledger.texts.append(reason)
                    nodes.append({**node, "result": False, "skipped": False, "reason": reason})
        finally:
            del scopes[depth:]
        nodes.append(result[1])
        _skip_rest(ledger, operation, nodes)
        return passed_on(ledger, operation, result, nodes, str(result[1]["reason"]))

    return explain
