"""One attempt of one step, executed by itself."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from automate.runtime.execute import Attempt, Result, execute
from automate_core.registry import registry
from automate_core.workflow import RunState, compile_workflow, context_for, parse
from automate_core.workflow.templates import ValueTemplate
from django.utils import timezone

pytestmark = pytest.mark.usefixtures("db")

PARAMS = {"key": "$secret:API_KEY", "text": "{{ event.payload.text }}"}
WORKFLOW = compile_workflow(parse({"slug": "w", "steps": [{"id": "f", "action": "test.call", "params": PARAMS}]}))


def executed(payload: dict[str, Any], template: ValueTemplate) -> tuple[Any, Any, str]:
    run_id = uuid4()
    result = execute(
        Attempt(
            workflow="w",
            step=WORKFLOW.steps["f"],
            number=1,
            context=context_for(WORKFLOW, RunState(event={"payload": payload}), "f"),
            run_id=run_id,
            idempotency_key=f"{run_id}:one",
            tenant="",
            depth=0,
            timeout=9.0,
            clock=timezone.now,
            registry=registry,
            template=template,
        )
    )
    assert isinstance(result, Result)
    return result.input, result.output, str(result.error)


def test_parameters_that_were_compiled_before_are_rendered_alike(actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATE_API_KEY", "s3cr3t-value-of-the-key")
    got = []

    @actions("call")
    def call(key: str, text: str) -> str:
        got.append((key, text))
        return text

    for payload in ({"text": "a"}, {"text": "$secret:API_KEY"}, {"texd": "a"}, {"text": 1}):
        assert executed(payload, WORKFLOW.prepared["f"].params) == executed(payload, ValueTemplate(PARAMS))
    assert got == [("s3cr3t-value-of-the-key", text) for text in ("a", "a", "$secret:API_KEY", "$secret:API_KEY")]
