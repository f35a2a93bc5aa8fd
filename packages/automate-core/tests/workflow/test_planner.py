from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from automate_core.errors import AutomateError, PermanentError, RateLimited, TransientError
from automate_core.retry import RetryPolicy
from automate_core.workflow import (
    Outcome,
    Plan,
    Retry,
    RunState,
    StepState,
    StepStatus,
    after_failure,
    compile_workflow,
    context_for,
    error_json,
    parse,
    plan,
)
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SUCCESS = StepState(StepStatus.SUCCESS)
FAILED = StepState(StepStatus.FAILED, error={"code": "permanent", "message": "no"})
SKIPPED = StepState(StepStatus.SKIPPED)
POLICY = RetryPolicy(max_attempts=3, initial=10, factor=2, max=300, jitter=False)


def compiled(*steps: Any, **rest: Any) -> Any:
    filled = [{"id": f"s{index}", "action": "a.b", **step} for index, step in enumerate(steps)]
    return compile_workflow(parse({"slug": "w", "steps": filled, **rest}))


def decide(workflow: Any, running: Any = (), event: Any = None, **steps: Any) -> Any:
    return plan(workflow, RunState(event=event or {}, steps=steps), NOW, running=running)


DIAMOND = compiled({}, {"needs": ["s0"]}, {"needs": ["s0"]}, {"needs": ["s1", "s2"]})


def test_steps_follow_one_another_and_end_with_the_output() -> None:
    workflow = compiled({}, {}, output={"id": "{{ steps.s1.output.id }}", "was": "{{ steps.s0.status }}"})
    assert decide(workflow) == Plan(ready=("s0",))
    assert decide(workflow, running=["s0"]) == Plan()
    assert decide(workflow, s0=SUCCESS) == Plan(ready=("s1",))
    done = decide(workflow, s0=SUCCESS, s1=replace(SUCCESS, output={"id": 7}))
    assert done == Plan(outcome=Outcome.SUCCESS, output={"id": 7, "was": "SUCCESS"})


def test_branches_run_side_by_side_and_join() -> None:
    assert decide(DIAMOND, s0=SUCCESS).ready == ("s1", "s2")
    assert decide(DIAMOND, s0=SUCCESS, running=["s1"]).ready == ("s2",)
    assert decide(DIAMOND, s0=SUCCESS, s1=SUCCESS, running=["s2"]).ready == ()
    assert decide(DIAMOND, s0=SUCCESS, s1=SUCCESS, s2=SUCCESS).ready == ("s3",)
    assert decide(compiled({}, {"needs": []}, {})).ready == ("s0", "s1")


def test_a_false_condition_skips_the_step_and_what_needs_it() -> None:
    workflow = compiled(
        {"if": {">": [{"var": "event.payload.n"}, 5]}}, {"needs": ["s0"]}, {"needs": []}, {"needs": ["s1", "s2"]}
    )
    small = {"payload": {"n": 5}}
    planned = decide(workflow, event=small)
    assert planned.ready == ("s2",)
    assert planned.skipped == {
        "s0": "its condition is false",
        "s1": "step 's0', which it needs, was skipped",
        "s3": "step 's1', which it needs, was skipped",
    }
    assert decide(workflow, event={"payload": {"n": 6}}) == Plan(ready=("s0", "s2"))
    last = decide(workflow, event=small, s0=SKIPPED, s1=SKIPPED, s2=SUCCESS)
    assert (last.skipped, last.outcome) == ({"s3": "step 's1', which it needs, was skipped"}, Outcome.SUCCESS)


def test_a_condition_sees_the_steps_before_it() -> None:
    workflow = compiled({}, {"if": {"==": [{"var": "steps.s0.output.kind"}, "big"]}})
    assert decide(workflow, s0=replace(SUCCESS, output={"kind": "big"})).ready == ("s1",)
    assert decide(workflow, s0=replace(SUCCESS, output={"kind": "small"})).skipped == {"s1": "its condition is false"}


def test_a_failure_starts_nothing_more_and_waits_for_what_is_in_flight() -> None:
    states = {"s0": SUCCESS, "s1": FAILED}
    assert decide(DIAMOND, running=["s2"], **states) == Plan()
    ended = decide(DIAMOND, s2=SUCCESS, **states)
    assert ended == Plan(outcome=Outcome.FAILED, failed_step="s1", error=FAILED.error)
    waiting = StepState(StepStatus.RETRY, retry_at=NOW + timedelta(hours=1))
    assert decide(DIAMOND, s2=waiting, **states).outcome is Outcome.FAILED


def test_a_failure_that_does_not_matter_is_an_end_like_any_other() -> None:
    workflow = compiled(
        {"on_error": "continue"},
        {"if": {"==": [{"var": "steps.s0.status"}, "FAILED"]}},
        output={"why": "{{ steps.s0.error.message }}", "out": "{{ steps.s0.output }}"},
    )
    assert decide(workflow, s0=FAILED).ready == ("s1",)
    assert decide(workflow, s0=FAILED, s1=SUCCESS) == Plan(outcome=Outcome.SUCCESS, output={"why": "no", "out": None})


def test_a_retry_is_waited_for_and_then_due() -> None:
    workflow = compiled({}, {"needs": []})
    later = StepState(StepStatus.RETRY, attempts=1, retry_at=NOW + timedelta(seconds=30))
    latest = replace(later, retry_at=NOW + timedelta(seconds=60))
    assert decide(workflow, s0=latest, s1=later) == Plan(waiting_until=later.retry_at)
    assert decide(workflow, s0=latest, running=["s1"]).waiting_until == latest.retry_at
    assert decide(workflow, s0=replace(later, retry_at=NOW), s1=SUCCESS) == Plan(ready=("s0",))
    assert decide(workflow, s0=replace(later, retry_at=NOW), s1=SUCCESS, running=["s0"]) == Plan()


class Explosive:
    def evaluate(self, context: Any) -> None:
        raise AutomateError("the rule did too much")


def test_a_condition_that_cannot_be_evaluated_fails_its_step() -> None:
    for on_error, outcome in (("fail", Outcome.FAILED), ("continue", Outcome.SUCCESS)):
        workflow = compiled({"if": {"var": "event"}, "on_error": on_error})
        planned = decide(replace(workflow, conditions={"s0": Explosive()}))
        assert planned.failed["s0"]["message"] == "the rule did too much"
        assert (planned.ready, planned.outcome) == ((), outcome)


def test_an_output_that_cannot_be_rendered_fails_the_run() -> None:
    ended = decide(compiled({}, output={"a": "{{ event.payload.x }}"}), event={"payload": {}}, s0=SUCCESS)
    assert (ended.outcome, ended.failed_step, ended.error["code"]) == (Outcome.FAILED, None, "template")
    assert "/a: event.payload.x is not defined" in ended.error["message"]


def test_large_values_are_revealed_where_something_looks_at_them() -> None:
    asked: list[Any] = []

    def reveal(context: dict[str, Any], templates: Any) -> dict[str, Any]:
        asked.append(templates)
        return {**context, "event": {"payload": {"x": "large"}}}

    output = {"was": "{{ event.payload.x }}"}
    holds = {"==": [{"var": "event.payload.x"}, "large"]}
    workflow = compiled({}, {"if": holds}, output=output)
    state = RunState(event={"payload": "reference"}, reveal=reveal)
    assert plan(workflow, state, NOW).ready == ("s0",)
    assert asked == []
    state = replace(state, steps={"s0": SUCCESS})
    assert (plan(workflow, state, NOW).ready, asked) == (("s1",), [None])
    ended = plan(workflow, replace(state, steps={"s0": SUCCESS, "s1": SUCCESS}), NOW)
    assert (ended.output, asked) == ({"was": "large"}, [None, output])
    assert context_for(workflow, state, "s1")["event"] == {"payload": "reference"}

    def fail(context: dict[str, Any], templates: Any) -> dict[str, Any]:
        raise TransientError("away")

    for steps in ({"s0": SUCCESS}, {"s0": SUCCESS, "s1": SUCCESS}):
        with pytest.raises(TransientError):
            plan(workflow, replace(state, reveal=fail, steps=steps), NOW)


def test_a_step_sees_what_it_needs_and_nothing_of_a_parallel_branch() -> None:
    state = RunState(
        event={"payload": {"a": 1}},
        execution={"id": "x"},
        steps={"s0": replace(SUCCESS, output=1), "s1": FAILED, "s2": replace(SUCCESS, output=2)},
    )
    seen = context_for(DIAMOND, state, "s2")
    assert seen == {
        "event": {"payload": {"a": 1}},
        "execution": {"id": "x"},
        "item": None,
        "steps": {"s0": {"output": 1, "status": "SUCCESS", "error": None}},
    }
    assert context_for(DIAMOND, state, "s3")["steps"]["s1"]["error"] == FAILED.error


def test_what_follows_a_failed_attempt() -> None:
    step = parse({"slug": "w", "steps": [{"id": "a", "action": "b.c", "retry": {"max_attempts": 2}}]}).steps[0]
    again = after_failure(step, TransientError("busy"), 1, policy=POLICY, now=NOW, random=0.0)
    assert again == Retry(NOW + timedelta(seconds=10), 10.0)
    limited = after_failure(step, RateLimited("slow", retry_after=99), 1, policy=POLICY, now=NOW, random=0.0)
    assert limited == Retry(NOW + timedelta(seconds=99), 99.0)
    assert after_failure(step, TransientError("busy"), 2, policy=POLICY, now=NOW, random=0.0) is None
    assert after_failure(step, PermanentError("no"), 1, policy=POLICY, now=NOW, random=0.0) is None


def test_the_text_of_a_foreign_error_is_not_recorded() -> None:
    assert error_json(ValueError("password=hunter2")) == {
        "code": "internal",
        "message": "ValueError was raised.",
        "type": "ValueError",
        "context": {},
    }


# -- any graph ------------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: Any) -> Any:
    steps = []
    for index in range(draw(st.integers(1, 8))):
        earlier = st.lists(st.sampled_from([f"s{i}" for i in range(index)]), unique=True) if index else st.just([])
        step = {"on_error": draw(st.sampled_from(["fail", "continue"]))}
        needs = draw(st.none() | earlier)
        if needs is not None:
            step["needs"] = needs
        if draw(st.integers(0, 3)) == 0:
            step["if"] = {"==": [1, draw(st.integers(1, 2))]}
        steps.append(step)
    return compiled(*steps)


class Driver:
    """Carries plans out as a runtime would, with the chances that hypothesis draws."""

    def __init__(self, workflow: Any, draw: Any) -> None:
        self.workflow, self.draw = workflow, draw
        self.now = NOW
        self.steps: dict[str, StepState] = {}
        self.attempts: dict[str, int] = {}
        self.running: list[str] = []

    def plan(self) -> Any:
        state = RunState(steps=dict(self.steps))
        planned = plan(self.workflow, state, self.now, running=tuple(self.running))
        assert planned == plan(self.workflow, state, self.now, running=tuple(reversed(self.running)))
        return planned

    def start(self, step_id: Any) -> None:
        assert step_id not in self.running
        assert self.steps.get(step_id) is None or self.steps[step_id].status is StepStatus.RETRY
        for needed in self.workflow.needs[step_id]:
            state = self.steps[needed]
            tolerated = self.workflow.steps[needed].on_error == "continue"
            assert state.status is StepStatus.SUCCESS or (state.status is StepStatus.FAILED and tolerated)
        self.running.append(step_id)

    def end_one(self) -> None:
        step_id = self.running.pop(self.draw(st.integers(0, len(self.running) - 1)))
        attempt = self.attempts[step_id] = self.attempts.get(step_id, 0) + 1
        error = self.draw(st.sampled_from([None, None, TransientError("busy"), PermanentError("no")]))
        if error is None:
            self.steps[step_id] = SUCCESS
            return
        step = self.workflow.steps[step_id]
        follows = after_failure(step, error, attempt, policy=POLICY, now=self.now, random=0.5)
        if follows is not None:
            self.steps[step_id] = StepState(StepStatus.RETRY, attempts=attempt, retry_at=follows.at)
        else:
            self.steps[step_id] = StepState(StepStatus.FAILED, error=error_json(error))

    def run(self) -> Any:
        for _ in range(500):
            planned = self.plan()
            for step_id in planned.skipped:
                assert step_id not in self.steps
                self.steps[step_id] = SKIPPED
            again = self.plan()
            assert (again.ready, again.outcome, again.skipped) == (planned.ready, planned.outcome, {})
            if planned.outcome is not None:
                assert not self.running
                return planned
            started = planned.ready[: self.draw(st.integers(1, 8))]
            for step_id in started:
                self.start(step_id)
            if self.running:
                self.end_one()
            else:
                assert planned.waiting_until > self.now
                self.now = planned.waiting_until
        raise AssertionError("the run does not end")


@settings(max_examples=250, deadline=None)
@given(graphs(), st.data())
def test_every_run_ends_and_every_step_keeps_its_place(workflow: Any, data: Any) -> None:
    driver = Driver(workflow, data.draw)
    ended = driver.run()
    guilty = [
        step_id
        for step_id, state in driver.steps.items()
        if state.status is StepStatus.FAILED and workflow.steps[step_id].on_error == "fail"
    ]
    if ended.outcome is Outcome.SUCCESS:
        assert not guilty
        assert set(driver.steps) == set(workflow.steps)
        assert all(state.status is not StepStatus.RETRY for state in driver.steps.values())
    else:
        assert ended.failed_step in guilty
    assert all(attempts <= POLICY.max_attempts for attempts in driver.attempts.values())


@pytest.mark.parametrize("count", [1000])
def test_a_long_workflow_is_planned(count: Any) -> None:
    workflow = compiled(*({} for _ in range(count)))
    states = {f"s{index}": SUCCESS for index in range(count)}
    assert decide(workflow, **states).outcome is Outcome.SUCCESS
    assert len(workflow.ancestors(f"s{count - 1}")) == count - 1
