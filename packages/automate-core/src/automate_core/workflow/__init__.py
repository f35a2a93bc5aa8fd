"""Workflows as data: the definition and its checks, templates, and the planner. Pure: no I/O, no clock, no chance."""

from automate_core.workflow.catalogue import ActionCatalogue, RegistryCatalogue
from automate_core.workflow.checks import check_definition, ensure_publishable
from automate_core.workflow.compiled import CompiledWorkflow, compile_workflow
from automate_core.workflow.definition import (
    Concurrency,
    EventTrigger,
    ManualTrigger,
    ModelTrigger,
    RetryDefinition,
    ScheduleTrigger,
    StepDefinition,
    Trigger,
    WebhookTrigger,
    WorkflowDefinition,
    invalid_definition,
    parse,
)
from automate_core.workflow.events import is_event_pattern, is_event_type, matches, patterns_for
from automate_core.workflow.linting import lint_definition
from automate_core.workflow.planner import (
    Outcome,
    Plan,
    Retry,
    RunState,
    StepState,
    StepStatus,
    after_failure,
    context_for,
    error_json,
    plan,
)
from automate_core.workflow.templates import Template, compile_template, find_secret_refs, render

__all__ = [
    "ActionCatalogue",
    "CompiledWorkflow",
    "Concurrency",
    "EventTrigger",
    "ManualTrigger",
    "ModelTrigger",
    "Outcome",
    "Plan",
    "RegistryCatalogue",
    "Retry",
    "RetryDefinition",
    "RunState",
    "ScheduleTrigger",
    "StepDefinition",
    "StepState",
    "StepStatus",
    "Template",
    "Trigger",
    "WebhookTrigger",
    "WorkflowDefinition",
    "after_failure",
    "check_definition",
    "compile_template",
    "compile_workflow",
    "context_for",
    "ensure_publishable",
    "error_json",
    "find_secret_refs",
    "invalid_definition",
    "is_event_pattern",
    "is_event_type",
    "lint_definition",
    "matches",
    "parse",
    "patterns_for",
    "plan",
    "render",
]
