"""The tables of Automate."""

from automate.models.artifacts import Artifact, ArtifactUse
from automate.models.audit import AuditLogEntry
from automate.models.concurrency import ConcurrencyKey
from automate.models.events import Decision, DedupeKey, Event
from automate.models.executions import Execution, ExecutionRun, RunStatus, StepRun
from automate.models.listening import ListeningStamp
from automate.models.switch import Switch
from automate.models.workflows import Workflow, WorkflowVersion

Automation = Workflow
"""The name that the specification also uses for a workflow."""

__all__ = [
    "Artifact",
    "ArtifactUse",
    "AuditLogEntry",
    "Automation",
    "ConcurrencyKey",
    "Decision",
    "DedupeKey",
    "Event",
    "Execution",
    "ExecutionRun",
    "ListeningStamp",
    "RunStatus",
    "StepRun",
    "Switch",
    "Workflow",
    "WorkflowVersion",
]
