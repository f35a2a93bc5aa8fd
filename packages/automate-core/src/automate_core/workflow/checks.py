"""What is checked when a definition is published, beyond its form. Every problem is found, each with a JSON pointer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from pydantic.errors import PydanticUserError

from automate_core._references import split_references
from automate_core._secret_ref import SecretRef, is_reference
from automate_core.connectors import ActionSpec
from automate_core.errors import AutomateError, ConfigurationError, SecretError, TemplateError, nearby
from automate_core.payload import json_pointer
from automate_core.rules.engine import DEFAULT, Engine
from automate_core.schema import UNKNOWN, Problem, find_problems
from automate_core.workflow.catalogue import ActionCatalogue
from automate_core.workflow.definition import EventTrigger, StepDefinition, WorkflowDefinition, invalid_definition
from automate_core.workflow.events import is_event_pattern
from automate_core.workflow.graph import Graph
from automate_core.workflow.templates import compile_template, find_secret_refs, find_texts, is_template

__all__ = ["check_definition", "ensure_publishable"]

Path = tuple[str | int, ...]

_WAITING_ACTIONS = frozenset({"flow.approve", "flow.run_workflow", "flow.sleep", "flow.wait_for_event"})
_RUNNABLE_TRIGGERS = frozenset({"event", "manual"})
_ROOTS = frozenset({"event", "execution", "item", "steps"})
_OF_A_STEP = frozenset({"error", "output", "status"})
_SCOPED = frozenset({"all", "filter", "map", "none", "reduce", "some"})


def check_definition(
    definition: WorkflowDefinition, actions: ActionCatalogue, engine: Engine = DEFAULT
) -> list[Problem]:
    """Find everything that keeps a definition from being published.

    Args:
        definition: The definition, its form already checked.
        actions: Where actions are looked up.
        engine: What compiles its rules; the classic engine by default.

    Returns:
        The problems, in the order of the definition; empty where it can be published.
    """
    graph = Graph(definition)
    problems = [*_check_trigger(definition, engine), *_check_concurrency(definition)]
    for index, step in enumerate(definition.steps):
        problems += graph.check_step(index)
        problems += _check_supported(step, ("steps", index))
        problems += _check_condition(step, ("steps", index, "if"), graph, index, engine)
        problems += _check_texts(step.params, ("steps", index, "params"), graph, index)
        problems += _check_action(step, ("steps", index), actions)
    problems += _check_texts(definition.output, ("output",), graph, None)
    return problems


def ensure_publishable(definition: WorkflowDefinition, actions: ActionCatalogue, engine: Engine = DEFAULT) -> None:
    """Refuse a definition that cannot be published.

    Args:
        definition: The definition, its form already checked.
        actions: Where actions are looked up.
        engine: What compiles its rules; the classic engine by default.

    Raises:
        InvalidDefinitionError: ``context["problems"]`` lists everything that is wrong, each with ``pointer`` and
            ``message``.
    """
    problems = check_definition(definition, actions, engine)
    if problems:
        raise invalid_definition(problems)


# -- what cannot run yet ----------------------------------------------------------------------------------------------


def _not_yet(path: Path, what: str) -> Problem:
    return Problem(json_pointer(path), f"{what} is not supported yet")


def _check_supported(step: StepDefinition, path: Path) -> Iterator[Problem]:
    if step.action in _WAITING_ACTIONS:
        yield _not_yet((*path, "action"), f"the action {step.action!r}")
    for name in ("connection", "foreach", "concurrency", "compensates"):
        if getattr(step, name) is not None:
            yield _not_yet((*path, name), repr(name))
    if step.on_error == "compensate":
        yield _not_yet((*path, "on_error"), "'on_error': 'compensate'")


# -- concurrency ------------------------------------------------------------------------------------------------------


def _check_concurrency(definition: WorkflowDefinition) -> Iterator[Problem]:
    concurrency = definition.concurrency
    if concurrency is None:
        return
    yield from _check_key(concurrency.key)
    if concurrency.limit is not None and concurrency.mode != "parallel":
        yield Problem("/concurrency/limit", f"goes with the mode 'parallel' only, not with {concurrency.mode!r}")
    if concurrency.burst is not None and concurrency.per_second is None:
        yield Problem("/concurrency/burst", "goes with 'per_second' only")


def _check_key(key: str) -> Iterator[Problem]:
    """Check the template of a key: when it is rendered there is an event, and no run yet."""
    pointer = "/concurrency/key"
    if _names_secret(key):
        yield Problem(pointer, "a key cannot hold a secret")
    try:
        references = compile_template(key).references
    except TemplateError as error:
        yield Problem(pointer, error.message)
        return
    for root in sorted({str(reference[0]) for reference in references} - {"event"}):
        yield Problem(pointer, f"{root!r} is not known here: the key is made of 'event' alone")


# -- rules ------------------------------------------------------------------------------------------------------------


def _check_trigger(definition: WorkflowDefinition, engine: Engine) -> Iterator[Problem]:
    trigger = definition.trigger
    if trigger.type not in _RUNNABLE_TRIGGERS:
        yield _not_yet(("trigger", "type"), f"a trigger of type {trigger.type!r}")
    if isinstance(trigger, EventTrigger) and not is_event_pattern(trigger.event):
        yield Problem("/trigger/event", "must be an event type such as 'order.paid', or a pattern: 'order.*' or '*'")
    yield from _check_rule(getattr(trigger, "rule", None), ("trigger", "rule"), engine)


def _check_rule(rule: Any, path: Path, engine: Engine) -> Iterator[Problem]:
    if rule is None:
        return
    try:
        engine.compile_rule(rule)
    except AutomateError as error:
        yield Problem(json_pointer(path) + str(error.context.get("pointer", "")), error.message)


def _check_condition(step: StepDefinition, path: Path, graph: Graph, index: int, engine: Engine) -> Iterator[Problem]:
    if step.condition is None:
        return
    problems = list(_check_rule(step.condition, path, engine))
    yield from problems
    if not problems:
        for where, reference in _rule_references(step.condition, path):
            yield from _check_reference(reference, where, graph, index)


def _rule_references(rule: Any, path: Path) -> Iterator[tuple[Path, Path]]:
    """Find the variables of a rule that are written out; those of ``map`` and its like name parts of an item."""
    if isinstance(rule, list):
        for index, item in enumerate(rule):
            yield from _rule_references(item, (*path, index))
    elif isinstance(rule, dict):
        for operation, argument in rule.items():
            here = (*path, operation)
            first = argument[0] if isinstance(argument, list) and argument else argument
            if operation == "var" and isinstance(first, str) and first:
                yield here, tuple(first.split("."))
            elif operation == "val" and _is_key(first):
                keys = argument if isinstance(argument, list) else [argument]
                yield here, tuple(str(key) for key in takewhile(_is_key, keys))
            elif operation == "preserve":
                continue
            elif operation in _SCOPED:
                yield from _rule_references(first, (*here, 0))
            else:
                yield from _rule_references(argument, here)


def _is_key(value: Any) -> bool:
    return isinstance(value, str | int)


# -- templates and secrets --------------------------------------------------------------------------------------------


def _check_texts(value: Mapping[str, Any], path: Path, graph: Graph, index: int | None) -> Iterator[Problem]:
    for inner, text in find_texts(value):
        here = (*path, *inner)
        if is_template(text):
            yield from _check_template(text, here, graph, index)
        elif _names_secret(text):
            yield from _check_secrets(text, here, in_output=index is None)


def _names_secret(text: str) -> bool:
    """Whether a text is, or somewhere holds, what claims to be a secret reference."""
    return "$" in text and (is_reference(text) or any(claim for _, claim in split_references(text)))


def _check_template(text: str, path: Path, graph: Graph, index: int | None) -> Iterator[Problem]:
    try:
        template = compile_template(text)
        template.find_secrets()
    except TemplateError as error:
        yield Problem(json_pointer(path), error.message)
        return
    yield from _check_secrets(text, path, in_output=index is None)
    for reference in sorted(template.references, key=repr):
        yield from _check_reference(reference, path, graph, index)


def _check_reference(reference: Path, path: Path, graph: Graph, index: int | None) -> Iterator[Problem]:
    problem = _reference_problem(reference, graph, index)
    if problem:
        yield Problem(json_pointer(path), problem)


def _reference_problem(reference: Path, graph: Graph, index: int | None) -> str:
    root, *rest = reference
    if root not in _ROOTS:
        return f"{root!r} is not known here.{nearby(str(root), _ROOTS)}"
    if root == "item":
        return "'item' exists with 'foreach' only"
    if root != "steps" or not rest:
        return ""
    name = str(rest[0])
    if not graph.has(name):
        return f"there is no step {name!r}.{nearby(name, graph.ids)}"
    if index is not None and not graph.runs_before(name, index):
        return f"step {name!r} need not have run by then: name it in 'needs'"
    if len(rest) > 1 and rest[1] not in _OF_A_STEP:
        return f"a step has no {rest[1]!r}.{nearby(str(rest[1]), _OF_A_STEP)}"
    return ""


def _check_secrets(text: str, path: Path, *, in_output: bool) -> Iterator[Problem]:
    if not _names_secret(text):
        return
    pointer = json_pointer(path)
    if in_output:
        yield Problem(pointer, "the output of a run cannot hold a secret")
        return
    named = [ref for _, ref in find_secret_refs(text)]
    if is_template(text) and len(named) < len([claim for _, claim in split_references(text) if claim]):
        yield Problem(pointer, "a secret reference is written out, and not within a template")
    for ref in named:
        try:
            SecretRef(ref)
        except SecretError as error:
            yield Problem(pointer, error.message)


# -- actions ----------------------------------------------------------------------------------------------------------


def _check_action(step: StepDefinition, path: Path, actions: ActionCatalogue) -> Iterator[Problem]:
    if step.action in _WAITING_ACTIONS:
        return
    try:
        spec = actions.get(step.action)
    except AutomateError as error:
        yield Problem(json_pointer((*path, "action")), error.message)
        return
    if not spec.takes_secrets:
        for pointer in dict.fromkeys(pointer for pointer, _ in find_secret_refs(step.params)):
            yield Problem(json_pointer((*path, "params")) + pointer, f"{step.action!r} takes no secrets")
    yield from _check_input(spec, step.params, path)


def _check_input(spec: ActionSpec, params: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    try:
        found = find_problems(spec.input_json_schema(), _known_part(params))
    except (ConfigurationError, PydanticUserError) as error:
        # a model may say more than the vocabulary can: it is asked itself, when the step runs
        if isinstance(spec.input_schema, Mapping):
            yield Problem(json_pointer((*path, "action")), f"the action's input schema is wrong: {error}")
        return
    for problem in found:
        yield Problem(json_pointer((*path, "params")) + problem.pointer, problem.message)


def _known_part(value: Any) -> Any:
    """Return the value with everything that is known only at run time replaced by UNKNOWN."""
    if isinstance(value, dict):
        return {key: _known_part(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_known_part(child) for child in value]
    if isinstance(value, str) and (is_template(value) or _names_secret(value)):
        return UNKNOWN
    return value
