"""The workflow definition, format 1: one canonical JSON form, with one hash for equal definitions."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from automate_core.errors import InvalidDefinitionError, InvalidPayloadError
from automate_core.payload import check_payload, content_hash, json_pointer
from automate_core.retry import RetryPolicy
from automate_core.schema import Problem
from automate_core.workflow.rates import Rate

__all__ = [
    "MAX_DEFINITION_BYTES",
    "MAX_STEPS",
    "Concurrency",
    "EventTrigger",
    "ManualTrigger",
    "ModelTrigger",
    "RetryDefinition",
    "ScheduleTrigger",
    "StepDefinition",
    "Trigger",
    "WebhookTrigger",
    "WorkflowDefinition",
    "invalid_definition",
    "parse",
]

MAX_STEPS = 1000
"""Steps of one workflow at the most."""

MAX_DEFINITION_BYTES = 1024 * 1024
"""Largest definition, as canonical JSON."""

Rule = dict[str, Any]
_SLUG = r"^[a-z0-9][a-z0-9-]*$"
_STEP_ID = r"^[a-z][a-z0-9_]*$"
_ACTION = r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$"
_MODEL = r"^[a-z_][a-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$"
Slug = Annotated[str, Field(pattern=_SLUG, max_length=100)]
StepId = Annotated[str, Field(pattern=_STEP_ID, max_length=100)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class EventTrigger(_Model):
    """Starts a run for each event of a type, where the rule holds."""

    type: Literal["event"]
    event: str = Field(min_length=1, max_length=200, description='Event type, or a pattern: "order.*", "*".')
    rule: Rule | None = Field(None, description="JSONLogic over the payload; left out, every event matches.")


class WebhookTrigger(_Model):
    """Starts a run for each accepted delivery of a webhook source."""

    type: Literal["webhook"]
    source: Slug = Field(description="Slug of the webhook source.")
    rule: Rule | None = Field(None, description="JSONLogic over the payload; left out, every delivery matches.")


class ScheduleTrigger(_Model):
    """Starts runs by the clock."""

    type: Literal["schedule"]
    cron: str = Field(min_length=1, max_length=200, description="Cron expression of five fields.")
    timezone: str = Field("UTC", description="IANA name of the time zone.")
    misfire: Literal["once", "skip", "all"] = Field("once", description="What happens with slots that were missed.")


class ModelTrigger(_Model):
    """Starts a run when rows of a Django model change."""

    type: Literal["model"]
    model: str = Field(pattern=_MODEL, description='"app_label.Model".')
    on: Annotated[tuple[Literal["create", "update", "delete"], ...], Field(strict=False, min_length=1)] = Field(
        ("create", "update", "delete"), description="Which changes."
    )
    rule: Rule | None = Field(None, description="JSONLogic over the change; left out, every change matches.")


class ManualTrigger(_Model):
    """Starts only when asked to."""

    type: Literal["manual"]


Trigger = Annotated[
    EventTrigger | WebhookTrigger | ScheduleTrigger | ModelTrigger | ManualTrigger, Field(discriminator="type")
]
"""What starts a workflow."""


class RetryDefinition(_Model):
    """How steps are retried. What a step leaves out comes from its workflow, and then from the settings."""

    max_attempts: int | None = Field(None, ge=1, le=1000, description="Attempts in all, the first one included.")
    initial: float | None = Field(None, ge=0, le=86_400, description="Seconds before the second attempt.")
    factor: float | None = Field(None, ge=1, le=100, description="Growth of the wait.")
    max: float | None = Field(None, ge=0, le=604_800, description="Longest wait in seconds.")
    jitter: bool | None = Field(None, description="Whether half of each wait is random.")

    def over(self, default: RetryPolicy) -> RetryPolicy:
        """Return a policy that takes from this one what is set, and the rest from the default.

        Args:
            default: The policy where nothing is set.
        """
        return dataclasses.replace(default, **self.model_dump(exclude_none=True))


class Concurrency(_Model):
    """What happens with runs that share a key, and how fast they may begin."""

    key: str = Field(
        min_length=1, description="Template over the event; runs for which it gives the same text share a key."
    )
    mode: Literal["parallel", "queue", "skip", "cancel_running"] = Field("parallel", description="What a new run does.")
    limit: int | None = Field(None, ge=1, le=1000, description='Runs of a key at a time; with "parallel" only.')
    per_second: float | None = Field(None, ge=1e-5, le=10_000, description="Runs of a key that may begin in a second.")
    burst: int | None = Field(None, ge=1, le=10_000, description="Runs that may begin at once after a rest; 1.")

    @property
    def rate(self) -> Rate | None:
        """How fast runs of a key may begin; None for as fast as they come."""
        return None if self.per_second is None else Rate(self.per_second, self.burst or 1)


class StepDefinition(_Model):
    """One step: one call of one action."""

    id: StepId = Field(description="Its name within the workflow.")
    action: str = Field(pattern=_ACTION, description='"connector.action".')
    connection: Slug | None = Field(None, description="Slug of the connection that the connector uses.")
    params: dict[str, Any] = Field(default_factory=dict, description="Input of the action; text may hold templates.")
    needs: Annotated[tuple[StepId, ...] | None, Field(strict=False)] = Field(
        None, description="Steps that must be finished first; left out, the step before; empty starts at once."
    )
    condition: Rule | None = Field(None, alias="if", description="JSONLogic; the step is skipped where it is false.")
    foreach: str | list[Any] | None = Field(None, description="A list, or a template of one: the step runs per item.")
    concurrency: int | None = Field(None, ge=1, le=1000, description="Items of foreach that run at a time.")
    retry: RetryDefinition | None = Field(None, description="How it is retried; left out, as the workflow says.")
    timeout: float | None = Field(None, gt=0, le=86_400, description="Longest duration of one attempt, in seconds.")
    on_error: Literal["fail", "continue", "compensate"] = Field("fail", description="What follows its failure.")
    compensates: StepId | None = Field(None, description="The step that this one undoes.")

    def retry_policy(self, default: RetryPolicy) -> RetryPolicy:
        """Return the policy of this step.

        Args:
            default: The policy where the step sets nothing: that of the workflow.
        """
        return default if self.retry is None else self.retry.over(default)


class WorkflowDefinition(_Model):
    """A workflow: what starts it, its steps, its output."""

    slug: Slug = Field(description="Its name.")
    trigger: Trigger = Field(default_factory=lambda: ManualTrigger(type="manual"), description="What starts it.")
    steps: Annotated[tuple[StepDefinition, ...], Field(strict=False, min_length=1, max_length=MAX_STEPS)] = Field(
        description="Its steps, each after the ones that it needs."
    )
    output: dict[str, Any] = Field(default_factory=dict, description="Output of the run; text may hold templates.")
    concurrency: Concurrency | None = Field(None, description="What happens with runs that share a key.")
    retry: RetryDefinition | None = Field(None, description="How its steps are retried; left out, as the settings say.")

    def retry_policy(self, default: RetryPolicy) -> RetryPolicy:
        """Return the policy of the steps that set nothing.

        Args:
            default: The policy where the workflow sets nothing: that of the settings.
        """
        return default if self.retry is None else self.retry.over(default)

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """The steps that each step needs, with what was left out filled in; in the order of the definition."""
        resolved: dict[str, tuple[str, ...]] = {}
        before: tuple[str, ...] = ()
        for step in self.steps:
            resolved[step.id] = before if step.needs is None else step.needs
            before = (step.id,)
        return resolved

    def step(self, step_id: str) -> StepDefinition:
        """Return one step.

        Args:
            step_id: Its id.

        Raises:
            InvalidDefinitionError: If there is none.
        """
        for step in self.steps:
            if step.id == step_id:
                return step
        raise invalid_definition([Problem("/steps", f"has no step {step_id!r}")])

    def to_json(self) -> dict[str, Any]:
        """Return the canonical JSON form: what equals its default is left out.

        Definitions that mean the same have the same form, whether ``needs`` names the step before or is left out, and
        in whichever order it names several.
        """
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        data["trigger"] = self.trigger.model_dump(mode="json", exclude_defaults=True)
        order = {step.id: index for index, step in enumerate(self.steps)}
        before: list[str] = []
        for step in data["steps"]:
            if step.get("needs") is not None:
                step["needs"].sort(key=lambda name: order.get(name, -1))
            if step.get("needs") == before:
                del step["needs"]
            before = [step["id"]]
        return data

    def hash(self) -> str:
        """Return the SHA-256 of the canonical form, in hexadecimal."""
        return content_hash(self.to_json())

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the format."""
        schema = cls.model_json_schema(by_alias=True)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def parse(data: Any) -> WorkflowDefinition:
    """Read a definition from its JSON form.

    Only the form is checked here; whether it can be published, :mod:`automate_core.workflow.checks` tells.

    Args:
        data: The JSON object as Python data.

    Raises:
        InvalidDefinitionError: If it has another form; ``context["problems"]`` lists everything that is wrong, each
            with ``pointer`` and ``message``.
    """
    try:
        text = check_payload(data, max_bytes=MAX_DEFINITION_BYTES, what="workflow definition")
        return WorkflowDefinition.model_validate(json.loads(text))
    except InvalidPayloadError as error:
        problems = [Problem(error.context["pointer"], error.context["reason"])]
    except ValidationError as error:
        problems = _problems(error)
    raise invalid_definition(problems)


def invalid_definition(problems: Iterable[Problem]) -> InvalidDefinitionError:
    """Make the error that lists what is wrong with a definition.

    Args:
        problems: What is wrong, each with a JSON pointer into the definition.
    """
    listed = [{"pointer": problem.pointer, "message": problem.message} for problem in problems]
    lines = "\n".join(f"  {item['pointer'] or '/'}: {item['message']}" for item in listed)
    return InvalidDefinitionError(f"The workflow definition is not valid:\n{lines}", context={"problems": listed})


_PYDANTIC_WORDS = re.compile(r"^(Value error, |Input )")
_PATTERNS = {
    _SLUG: "must be lower case letters, digits and '-', such as 'thank-big-spender'",
    _STEP_ID: "must be lower case letters, digits and '_', such as 'make_invoice'",
    _ACTION: "must be 'connector.action' in lower case, such as 'http.request'",
    _MODEL: "must be 'app_label.Model', such as 'shop.Order'",
}


def _problems(error: ValidationError) -> list[Problem]:
    found = error.errors(include_url=False, include_input=False)
    wrong_steps = any(item["loc"][:1] == ("steps",) and len(item["loc"]) > 1 for item in found)
    # pydantic counts the steps that are right: with none right it also says that there are none
    return [_problem(item) for item in found if not (wrong_steps and item["loc"] == ("steps",))]


def _problem(found: Any) -> Problem:
    path = [part for part in found["loc"] if not _is_branch(part)]
    if path[:1] == ["trigger"] and len(path) > 1:
        del path[1]
    if found["type"] == "string_pattern_mismatch":
        return Problem(json_pointer(path), _PATTERNS[found["ctx"]["pattern"]])
    if found["loc"] == ("steps",) and found["type"] == "too_short":
        return Problem("/steps", "must hold at least one step")
    message = _PYDANTIC_WORDS.sub("", found["msg"])
    return Problem(json_pointer(path), message[:1].lower() + message[1:])


def _is_branch(part: Any) -> bool:
    """Whether it is pydantic's name for a branch of a union, such as ``list[any]``; no key of ours looks like that."""
    return isinstance(part, str) and ("[" in part or part in {"str", "tuple"})
