"""What is wrong with the rules of a workflow, where it is known what its events look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from automate_core.errors import RuleError
from automate_core.rules import Engine, Finding, Severity, lint
from automate_core.rules.engine import DEFAULT
from automate_core.rules.lint import RuleSet
from automate_core.workflow.definition import EventTrigger, WorkflowDefinition

__all__ = ["lint_definition"]

_PAYLOAD = "#/properties/event/properties/payload"
_DATA = frozenset({"const", "default", "enum", "example", "examples"})
"""Keywords whose argument is data: a ``$ref`` in it is no reference."""


def lint_definition(
    definition: WorkflowDefinition,
    schema: Any = None,
    others: Mapping[str, Any] | RuleSet | None = None,
    *,
    engine: Engine = DEFAULT,
) -> list[Finding]:
    """Find what is wrong with the rule of a workflow's trigger and with the conditions of its steps.

    Args:
        definition: The definition; it can be published.
        schema: JSON Schema of the payload of its events; None where nothing is known.
        others: Rules of other workflows for the same events, by slug; see :func:`~automate_core.rules.lint`.
        engine: The engine that runs its rules.

    Returns:
        The findings, with pointers into the definition; a rule that is not well formed is one of them, with the code of
        the error.

    Raises:
        ConfigurationError: If the schema is malformed or uses what is not understood.
    """
    return list(_findings(definition, schema, others, engine))


def _findings(
    definition: WorkflowDefinition, schema: Any, others: Mapping[str, Any] | RuleSet | None, engine: Engine
) -> Iterator[Finding]:
    rule = getattr(definition.trigger, "rule", None)
    if rule is not None:
        yield from _linted(rule, schema, others, engine, "/trigger/rule")
    for index, step in enumerate(definition.steps):
        if step.condition is not None:
            yield from _linted(step.condition, _context_schema(definition, schema), None, engine, f"/steps/{index}/if")


def _linted(
    rule: Any, schema: Any, others: Mapping[str, Any] | RuleSet | None, engine: Engine, pointer: str
) -> Iterator[Finding]:
    try:
        findings = lint(rule, schema, others, engine=engine)
    except RuleError as error:
        findings = [Finding(error.code, Severity.ERROR, str(error.context.get("pointer", "")), error.message)]
    for finding in findings:
        yield replace(finding, pointer=pointer + finding.pointer)


def _context_schema(definition: WorkflowDefinition, schema: Any) -> dict[str, Any]:
    """Return the schema of what the conditions of steps read; a run that was started directly has no event type."""
    trigger = definition.trigger
    is_exact = isinstance(trigger, EventTrigger) and "*" not in trigger.event
    text: dict[str, Any] = {"type": "string"}
    properties = {
        "id": {"type": ["string", "null"]},
        "type": {"enum": [trigger.event, None]} if isinstance(trigger, EventTrigger) and is_exact else True,
        "source": text,
        "subject": text,
        "payload": True if schema is None else _rebased(schema),
        "created_at": {"type": "string", "format": "date-time"},
    }
    required = ["id", "type", "source", "subject", "payload"]
    event = {"type": "object", "properties": properties, "required": required}
    return {"type": "object", "properties": {"event": event}, "required": ["event"], "additionalProperties": True}


def _rebased(schema: Any) -> Any:
    """Return a schema with its references leading to where it now stands."""
    if isinstance(schema, list | tuple):
        return [_rebased(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        keyword: f"{_PAYLOAD}{argument[1:]}"
        if keyword == "$ref" and isinstance(argument, str)
        else argument
        if keyword in _DATA and not isinstance(argument, Mapping)
        else _rebased(argument)
        for keyword, argument in schema.items()
    }
