"""Calls that the policy refused, for the audit log."""

from __future__ import annotations

from collections.abc import Iterable

from automate_core.errors import ErrorCodes

from automate.audit import record
from automate.models import StepRun

__all__ = ["DENIED", "record_denials"]

DENIED = frozenset({ErrorCodes.POLICY.value, ErrorCodes.SSRF_BLOCKED.value, ErrorCodes.CONNECTOR_NOT_ALLOWED.value})
"""The codes of the errors with which the policy refuses a call."""


def record_denials(steps: Iterable[StepRun]) -> None:
    """Record the steps that the policy refused, in the transaction that writes their rows.

    Args:
        steps: The rows, each with its run and its execution.
    """
    for step in steps:
        error = step.error
        if error is None or error.get("code") not in DENIED:
            continue
        execution = step.run.execution
        record(
            "policy.denied",
            f"action:{step.action}",
            actor=f"run:{step.run_id}",
            tenant=execution.tenant,
            details={
                **(error.get("context") or {}),  # first: it must not stand for what is known
                "workflow": execution.version.workflow.slug,
                "step": step.step_id,
                "attempt": step.attempt,
                "code": error["code"],
                "message": error.get("message", ""),
            },
        )
