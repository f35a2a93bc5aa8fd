"""What is stored of an explanation, and that no explanation keeps an event from its workflows."""

from __future__ import annotations

from typing import Any

import pytest
from automate.events import emit_event
from automate.explaining import explain_event
from automate.models import Decision, Event, Execution
from automate.payloads import max_depth
from automate.publish import publish
from automate.rules import compile_rule
from automate_core.errors import RuleLimitExceeded
from automate_core.rules import format_explanation
from automate_core.rules.explain import Prepared

pytestmark = pytest.mark.usefixtures("db")

LOG = {"id": "log", "action": "flow.log", "params": {"message": "x"}}


def definition(slug: str, rule: Any) -> dict[str, Any]:
    return {"slug": slug, "trigger": {"type": "event", "event": "order.paid", "rule": rule}, "steps": [LOG]}


def nested(levels: int, inner: Any) -> Any:
    for _ in range(levels):
        inner = {"!": inner}
    return inner


def levels_of(value: Any) -> int:
    if not isinstance(value, dict | list) or not value:
        return 1
    return 1 + max(levels_of(item) for item in (value.values() if isinstance(value, dict) else value))


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


DEEP: dict[str, Any] = {
    **{f"compared-{levels}": nested(levels, {"==": [{"var": "amount"}, 1 + levels % 2]}) for levels in range(11, 24)},
    **{f"value-{levels}": nested(levels, {"!!": {"var": "deep"}}) for levels in (8, 10, 12)},
}


def test_a_deep_explanation_is_cut_to_what_the_database_takes(work: Any) -> None:
    payload = {"amount": 1, "deep": deep(12)}
    for slug, rule in DEEP.items():
        publish(definition(slug, rule))
    publish(definition("flat", {"var": "amount"}))
    emit_event("order.paid", payload)
    work()
    assert set(Execution.objects.values_list("version__workflow__slug", flat=True)) == {*DEEP, "flat"}
    for slug, tree in Decision.objects.values_list("version__workflow__slug", "explanation"):
        whole = compile_rule(DEEP.get(slug, {"var": "amount"})).explain(payload)
        assert levels_of(tree) <= max_depth(), slug
        assert (tree == whole) is (levels_of(whole) <= max_depth()), slug


def test_an_explanation_that_fails_keeps_the_answer(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise RuleLimitExceeded("The rule visits more than 100,000 items at '/some'.")

    publish(definition("shop", {">=": [{"var": "amount"}, 50]}))
    event = Event.objects.get(pk=emit_event("order.paid", {"amount": 70}))
    monkeypatch.setattr(Prepared, "explain", refuse)
    work()
    assert Execution.objects.count() == 1
    decision = Decision.objects.get()
    assert (decision.matched, decision.error) == (True, "")
    assert decision.explanation is not None
    told = "it cannot be explained: The rule visits more than 100,000 items at '/some'."
    assert format_explanation(decision.explanation) == f"✓ / >=: {told}"
    Decision.objects.all()._raw_delete("default")
    (asked,) = explain_event(event)
    assert (asked.matched, asked.explanation) == (True, decision.explanation)
