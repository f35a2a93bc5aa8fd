"""A plan that is worked out in one pass is what the documentation says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from automate_core.errors import AutomateError
from automate_core.workflow import (
    Outcome,
    Plan,
    RunState,
    StepState,
    StepStatus,
    compile_workflow,
    context_for,
    error_json,
    parse,
    plan,
    render,
)
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
EVENT = {"payload": {"n": 4}}
CONDITIONS = [
    {"==": [1, 2]},
    {">": [{"var": "event.payload.n"}, 3]},
    {"==": [{"var": "steps.s0.status"}, "SUCCESS"]},
    {"==": [{"var": "steps.s1.output.x"}, 1]},
]
OUTPUTS = [{}, {"all": "{{ steps }}"}, {"one": "{{ steps.s0.output.x }}"}, {"wrong": "{{ event.payload.m }}"}]


class Failing:
    def evaluate(self, context: Any) -> bool:
        raise AutomateError(f"it saw {context}")


@st.composite
def workflows(draw: Any) -> Any:
    steps = []
    for index in range(draw(st.integers(1, 7))):
        step: dict[str, Any] = {
            "id": f"s{index}",
            "action": "a.b",
            "on_error": draw(st.sampled_from(["fail", "continue"])),
        }
        if index and draw(st.booleans()):
            step["needs"] = draw(st.lists(st.sampled_from([f"s{n}" for n in range(index)]), unique=True))
        if draw(st.booleans()):
            step["if"] = draw(st.sampled_from(CONDITIONS))
        steps.append(step)
    workflow = compile_workflow(parse({"slug": "w", "steps": steps, "output": draw(st.sampled_from(OUTPUTS))}))
    failing = draw(st.sets(st.sampled_from([*workflow.conditions, ""])))
    conditions: dict[str, Any] = {
        name: Failing() if name in failing else rule for name, rule in workflow.conditions.items()
    }
    return replace(workflow, conditions=conditions)


@st.composite
def recorded_steps(draw: Any) -> Any:
    """Draw any state, even one that no run gets into."""
    mostly = draw(st.sampled_from([StepStatus.SUCCESS, StepStatus.RETRY]))
    statuses = st.just(mostly) | st.sampled_from([mostly, StepStatus.SUCCESS, *StepStatus])
    seconds = st.sampled_from([None, -1, 0, 5, 9])
    found = {}
    for index in draw(st.permutations(range(8))):  # s7 is a step of no workflow
        if draw(st.integers(0, 2)):
            status, after = draw(statuses), draw(seconds)
            found[f"s{index}"] = StepState(
                status,
                output={"x": 1} if status is StepStatus.SUCCESS else None,
                error={"code": "no"} if status is StepStatus.FAILED else None,
                retry_at=None if after is None else NOW + timedelta(seconds=after),
            )
    return found


def ancestors(workflow: Any, step_id: Any) -> Any:
    return set(workflow.needs[step_id]).union(*(ancestors(workflow, name) for name in workflow.needs[step_id]))


def seen(steps: Any, visible: Any) -> Any:
    shown = {
        name: {"output": step.output, "status": step.status.value, "error": step.error}
        for name, step in steps.items()
        if name in visible and step.status is not StepStatus.RETRY
    }
    return {"event": EVENT, "steps": shown, "execution": {}, "item": None}


def decide(workflow: Any, steps: Any, step: Any) -> Any:
    """Return what follows for a step that nothing is recorded of: its state, whether it is ready, and why it is not."""
    needed = {name: steps.get(name) for name in workflow.needs[step.id]}
    for name, state in needed.items():
        if state and state.status is StepStatus.SKIPPED:
            return StepState(StepStatus.SKIPPED), False, f"step {name!r}, which it needs, was skipped"
    for name, state in needed.items():
        tolerated = workflow.steps[name].on_error == "continue"
        if not state or not (state.status is StepStatus.SUCCESS or (state.status is StepStatus.FAILED and tolerated)):
            return None, False, ""
    try:
        rule = workflow.conditions.get(step.id)
        if rule is None or rule.evaluate(seen(steps, ancestors(workflow, step.id))):
            return None, True, ""
    except AutomateError as error:
        return StepState(StepStatus.FAILED, error=error_json(error)), False, ""
    return StepState(StepStatus.SKIPPED), False, "its condition is false"


def expected(workflow: Any, recorded: Any, running: Any) -> Plan:
    """Return the plan, read from the documentation rather than worked out in one pass."""
    steps, ready = dict(recorded), []
    skipped: dict[str, Any] = {}
    failed: dict[str, Any] = {}
    for step in workflow.definition.steps:
        known = steps.get(step.id)
        if known is None and step.id not in running:
            state, is_ready, reason = decide(workflow, steps, step)
            ready += [step.id] * is_ready
            steps |= {step.id: state} if state else {}
            skipped |= {step.id: reason} if reason else {}
            failed |= {step.id: state.error} if state and state.status is StepStatus.FAILED else {}
        elif known and known.status is StepStatus.RETRY and step.id not in running:
            ready += [step.id] * (known.retry_at is None or known.retry_at <= NOW)
    own = [(step, steps[step.id]) for step in workflow.definition.steps if step.id in steps]
    guilty = [step.id for step, state in own if state.status is StepStatus.FAILED and step.on_error == "fail"]
    retried = [(step.id, state.retry_at) for step, state in own if state.status is StepStatus.RETRY]
    waiting = [at for name, at in retried if name not in running and name not in ready]
    flying = any(step.id in running and step.id not in steps for step in workflow.definition.steps)
    flying = flying or any(name in running for name, _ in retried)
    base = Plan(skipped=skipped, failed=failed)
    if guilty and flying:
        return base
    if guilty:
        return replace(base, outcome=Outcome.FAILED, failed_step=guilty[0], error=steps[guilty[0]].error)
    if ready or flying or waiting:
        return replace(base, ready=tuple(ready), waiting_until=min(waiting, default=None))
    try:
        output = render(workflow.definition.output, seen(steps, steps))
    except AutomateError as error:
        return replace(base, outcome=Outcome.FAILED, error=error_json(error))
    return replace(base, outcome=Outcome.SUCCESS, output=output)


@settings(max_examples=300, deadline=None)
@given(workflows(), recorded_steps(), st.sets(st.sampled_from([f"s{index}" for index in range(8)]), max_size=3))
def test_a_plan_is_what_its_documentation_says(workflow: Any, recorded: Any, running: Any) -> None:
    before = dict(recorded)
    state = RunState(event=EVENT, steps=recorded)
    assert repr(plan(workflow, state, NOW, running=running)) == repr(expected(workflow, recorded, running))
    assert recorded == before
    for step_id in workflow.steps:
        assert workflow.ancestors(step_id) == ancestors(workflow, step_id)
        assert repr(context_for(workflow, state, step_id)) == repr(seen(recorded, ancestors(workflow, step_id)))
