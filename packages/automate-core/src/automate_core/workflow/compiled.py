"""A workflow version made ready to run: rules and templates compiled, the graph resolved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from automate_core.errors import AutomateError, TemplateError
from automate_core.payload import json_pointer
from automate_core.rules.engine import DEFAULT, CompiledRule, Engine
from automate_core.schema import Problem
from automate_core.workflow.definition import EventTrigger, StepDefinition, WorkflowDefinition, invalid_definition
from automate_core.workflow.events import matches
from automate_core.workflow.templates import Template, ValueTemplate, compile_template

__all__ = ["CompiledWorkflow", "PreparedStep", "compile_trigger_rule", "compile_workflow"]


@dataclass(frozen=True, slots=True)
class PreparedStep:
    """What is asked about a step again and again.

    Args:
        id: Its id.
        needs: What it needs directly.
        ancestors: What it needs, directly or through others, as a sum of :attr:`CompiledWorkflow.bits`.
        condition: Its ``if``, where it has one.
        is_tolerated: Whether the run goes on after its failure.
        params: Its parameters.
    """

    id: str
    needs: tuple[str, ...]
    ancestors: int
    condition: CompiledRule | None
    is_tolerated: bool
    params: ValueTemplate


@dataclass(frozen=True, slots=True)
class CompiledWorkflow:
    """A version, ready to run. A version never changes, so this may be kept as long as one likes.

    Args:
        definition: The definition.
        steps: Its steps by id.
        needs: What each step needs, with what was left out filled in.
        rule: The rule of an event trigger.
        conditions: The ``if`` of each step that has one.
        key: The concurrency key, where there is one.

    Attributes:
        bits: A number for each step, each a bit of its own: a set of steps is their sum, and takes little memory even
            where each of a thousand steps has one.
        prepared: What follows from the rest for each step, in the order of the definition.
        output: The output of a run.
    """

    definition: WorkflowDefinition
    steps: Mapping[str, StepDefinition]
    needs: Mapping[str, tuple[str, ...]]
    rule: CompiledRule | None
    conditions: Mapping[str, CompiledRule]
    key: Template | None = None
    bits: Mapping[str, int] = field(init=False, repr=False, compare=False)
    prepared: Mapping[str, PreparedStep] = field(init=False, repr=False, compare=False)
    output: ValueTemplate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", {name: 1 << position for position, name in enumerate(self.steps)})
        object.__setattr__(self, "prepared", _prepare(self))
        object.__setattr__(self, "output", ValueTemplate(self.definition.output))

    def ancestors(self, step_id: str) -> frozenset[str]:
        """Return what a step needs, directly or through others: what has run before it for sure.

        Args:
            step_id: The step.
        """
        found = self.prepared[step_id].ancestors
        return frozenset(name for name, bit in self.bits.items() if found & bit)

    def wants(self, event_type: str) -> bool:
        """Return whether its trigger is for events of this type; the rule is asked apart.

        Args:
            event_type: Type of the event.
        """
        trigger = self.definition.trigger
        return isinstance(trigger, EventTrigger) and matches(trigger.event, event_type)

    def key_for(self, event: Mapping[str, Any]) -> str:
        """Return the concurrency key of a run, as text.

        Args:
            event: What templates see as ``event``.

        Returns:
            The key; empty where the run has none: the workflow names none, or it is null or empty for this event.

        Raises:
            TemplateError: If it cannot be rendered.
        """
        if self.key is None:
            return ""
        value = self.key.render({"event": event})
        if value is None or isinstance(value, str):
            return value or ""
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _prepare(workflow: CompiledWorkflow) -> dict[str, PreparedStep]:
    prepared: dict[str, PreparedStep] = {}
    for step_id, step in workflow.steps.items():
        needs = workflow.needs[step_id]
        ancestors = 0
        for name in needs:
            ancestors |= workflow.bits[name] | prepared[name].ancestors
        prepared[step_id] = PreparedStep(
            id=step_id,
            needs=needs,
            ancestors=ancestors,
            condition=workflow.conditions.get(step_id),
            is_tolerated=step.on_error == "continue",
            params=ValueTemplate(step.params),
        )
    return prepared


def compile_workflow(definition: WorkflowDefinition, engine: Engine = DEFAULT) -> CompiledWorkflow:
    """Compile a definition that was published before.

    Args:
        definition: The definition.
        engine: What compiles its rules; the classic engine by default.

    Raises:
        InvalidDefinitionError: If it could not be published: a rule does not compile, or a step needs one that does
            not come before it.
    """
    needs = definition.needs
    _ensure_order(needs)
    concurrency = definition.concurrency
    return CompiledWorkflow(
        definition=definition,
        steps={step.id: step for step in definition.steps},
        needs=needs,
        rule=compile_trigger_rule(getattr(definition.trigger, "rule", None), engine),
        conditions=_compile_conditions(definition, engine),
        key=None if concurrency is None else _compile_key(concurrency.key),
    )


def compile_trigger_rule(spec: dict[str, Any] | None, engine: Engine = DEFAULT) -> CompiledRule | None:
    """Compile the rule of an event trigger, as :func:`compile_workflow` does.

    Args:
        spec: The rule; None where there is none, and every event of the type matches.
        engine: What compiles it; the classic engine by default.

    Raises:
        InvalidDefinitionError: If it does not compile.
    """
    return _compile_rule(spec, ("trigger", "rule"), engine)


def _ensure_order(needs: Mapping[str, tuple[str, ...]]) -> None:
    before: set[str] = set()
    for index, (step_id, needed) in enumerate(needs.items()):
        late = [name for name in needed if name not in before]
        if late:
            problem = Problem(json_pointer(("steps", index, "needs")), f"{late[0]!r} does not come before {step_id!r}")
            raise invalid_definition([problem])
        before.add(step_id)


def _compile_conditions(definition: WorkflowDefinition, engine: Engine) -> dict[str, Any]:
    return {
        step.id: _compile_rule(step.condition, ("steps", index, "if"), engine)
        for index, step in enumerate(definition.steps)
        if step.condition is not None
    }


def _compile_key(text: str) -> Template:
    try:
        return compile_template(text)
    except TemplateError as error:
        raise invalid_definition([Problem("/concurrency/key", error.message)]) from error


def _compile_rule(spec: dict[str, Any] | None, path: tuple[str | int, ...], engine: Engine) -> CompiledRule | None:
    if spec is None:
        return None
    try:
        return engine.compile_rule(spec)
    except AutomateError as error:
        pointer = json_pointer(path) + str(error.context.get("pointer", ""))
        raise invalid_definition([Problem(pointer, error.message)]) from error
