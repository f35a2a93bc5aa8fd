"""Deciding: which workflows an event starts, and why the others stay quiet."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automate_core import settings
from automate_core.errors import ArtifactError, AutomateError
from automate_core.ids import new_trace_id
from automate_core.outbox import NewJob, OutboxItem
from automate_core.payload import storable_text
from automate_core.rules.pruning import prune
from django.utils import timezone

from automate.artifacts import content
from automate.concurrency import key_of, ordering_key_of
from automate.events import RUN_JOB
from automate.payloads import max_depth
from automate.runtime.versions import compiled

if TYPE_CHECKING:
    from automate_core.workflow.compiled import CompiledWorkflow

    from automate.matching import Listeners
    from automate.models import Event, ExecutionRun, WorkflowVersion
    from automate.runtime.journal import Births

__all__ = ["Verdict", "ask", "births_of", "decide", "why"]

_ERROR_LENGTH = 4000
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rule of one version says about an event.

    Args:
        version: The version.
        matched: Whether it is to be run; that of a shadow, whether it would be.
        explanation: The explain tree of its rule, no deeper than can be stored; None where it has none or it could not
            be evaluated.
        error: Why it could not be evaluated; never a match.
        key: The concurrency key of its run; None where it has none.
    """

    version: WorkflowVersion
    matched: bool
    explanation: dict[str, Any] | None = None
    error: str = ""
    key: str | None = None


def decide(event: Event, listening: Listeners) -> list[Verdict]:
    """Ask the workflows that listen to an event: those that it can match, or all where every decision is kept.

    Args:
        event: The event.
        listening: What listens.

    Returns:
        A verdict for each, by slug. Nothing is written.
    """
    keep = _keeps_non_matches(event.id)
    versions = listening.all_for(event) if keep else listening.candidates_for(event)
    return [verdict for version in versions if (verdict := _judge(version, event, keep)) is not None]


def _keeps_non_matches(event_id: UUID) -> bool:
    """Whether decisions about an event that did not match are stored: the same whenever and wherever it is asked."""
    policy = settings.current().decisions
    if policy.non_matches != "sampled":
        return policy.non_matches == "all"
    digest = hashlib.blake2b(event_id.bytes, digest_size=8).digest()
    return int.from_bytes(digest) < policy.sample_rate * 2**64


def _judge(version: WorkflowVersion, event: Event, keep: bool) -> Verdict | None:
    """Ask one version; what is wrong with it keeps no other from its event."""
    try:
        workflow = compiled(version)
        # It is filed by a column, which somebody may have changed without the definition.
        if not workflow.wants(event.type):
            return None
        matched, key = ask(workflow, event)
        tree = why(workflow, event, matched) if matched or keep else None
    except ArtifactError:
        raise  # the rule was not asked: the event is tried again, or becomes a dead letter
    except AutomateError as error:
        return Verdict(version, matched=False, error=storable_text(str(error), _ERROR_LENGTH))
    return Verdict(version, matched, tree, key=key)


def ask(workflow: CompiledWorkflow, event: Event) -> tuple[bool, str | None]:
    """Ask the rule of a workflow that listens to an event.

    Args:
        workflow: The workflow.
        event: The event.

    Returns:
        Whether the event matches, and the concurrency key that its run has; None where it has none.

    Raises:
        ArtifactError: If the payload is a file that cannot be read.
        RuleError: If the rule cannot be evaluated.
        TemplateError: If the key cannot be rendered.
    """
    rule = workflow.rule
    if rule is not None and not rule.evaluate(content(event.payload)):
        return False, None
    return True, _key(workflow, event)


def why(workflow: CompiledWorkflow, event: Event, matched: bool) -> dict[str, Any] | None:
    """Explain what the rule of a workflow said about an event.

    Args:
        workflow: The workflow.
        event: The event.
        matched: What :func:`ask` said.

    Returns:
        The explain tree, cut to what the database takes; None where the workflow has no rule. A rule that can be
        evaluated and not be explained keeps its answer: its tree is one node, which says what is wrong.

    Raises:
        ArtifactError: If the payload is a file that cannot be read.
    """
    rule = workflow.rule
    if rule is None:
        return None
    payload = content(event.payload)
    try:
        return prune(rule.explain(payload), max_depth())
    except AutomateError as error:
        reason = storable_text(f"it cannot be explained: {error}", _ERROR_LENGTH)
        operator = next(iter(rule.spec), "constant") if isinstance(rule.spec, dict) else "constant"
        told = {"value": matched, "result": matched, "children": [], "skipped": False, "reason": reason}
        return {"operator": operator, "path": "", **told}


def _key(workflow: CompiledWorkflow, event: Event) -> str | None:
    if workflow.key is None:
        return None
    from automate.runtime.runs import event_view

    return key_of(workflow, event.tenant, event_view(event, content(event.payload)))


def births_of(event: Event, item: OutboxItem, verdicts: Sequence[Verdict]) -> Births:
    """Return the rows that follow from the decisions about an event; nothing is written.

    Args:
        event: The event.
        item: Its claimed item, whose place in the outbox the runs inherit.
        verdicts: The decisions.
    """
    from automate.models import Decision
    from automate.models.bulk import new_row
    from automate.runtime.journal import Births

    keep = _keeps_non_matches(event.id)
    now = timezone.now()
    decisions = [
        new_row(
            Decision,
            event_id=event.id,
            version=verdict.version,
            matched=verdict.matched,
            shadow=verdict.version.shadow is True,
            explanation=verdict.explanation,
            error=verdict.error,
            created_at=now,
        )
        for verdict in verdicts
        if verdict.matched or verdict.error or keep
    ]
    matches = [verdict for verdict in verdicts if verdict.matched and not verdict.version.shadow]
    # Those that nothing limits come first: of them one may be born claimed.
    matches.sort(key=lambda verdict: verdict.key is not None)
    runs = [_new_run(event, verdict) for verdict in matches]
    jobs = [
        NewJob(
            RUN_JOB,
            {"run_id": str(run.id)},
            queue=item.queue,
            priority=item.priority,
            ordering_key=ordering_key_of(compiled(verdict.version), verdict.key) or item.ordering_key,
            tenant=event.tenant,
            max_attempts=settings.current().item_attempts,
        )
        for verdict, run in zip(matches, runs, strict=True)
    ]
    # A run in an order waits for those before it, so it cannot be claimed from birth; nor can one that may not start.
    free = not item.ordering_key and bool(matches) and matches[0].key is None
    return Births(decisions, runs, jobs, claims_first=free)


def _new_run(event: Event, verdict: Verdict) -> ExecutionRun:
    from automate.models import Execution, ExecutionRun
    from automate.models.bulk import new_row

    execution = new_row(
        Execution,
        version=verdict.version,
        concurrency_key=verdict.key,
        live_key=verdict.key,
        context=event.payload,
        event_id=event.id,
        tenant=event.tenant,
        causation_depth=event.causation_depth,
    )
    return new_row(ExecutionRun, execution=execution, trace_id=_trace_id(event))


def _trace_id(event: Event) -> str:
    """Continue the caller's trace where there is one (W3C Trace Context, section 3.2), or begin one."""
    trace = _TRACEPARENT.match(event.traceparent) if event.traceparent else None
    return new_trace_id() if trace is None else trace[1]
