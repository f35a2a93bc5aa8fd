"""Executions, their runs and steps."""

from __future__ import annotations

from automate_core.redaction import redact_text
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from automate.admin._filters import OwnWorkflowsFilter
from automate.admin._read_only import ReadOnlyAdmin, ReadOnlyInline, RedactedChoices, link, pretty, seconds_between
from automate.cancellation import cancel_executions
from automate.models import Execution, ExecutionRun, StepRun
from automate.permissions import CANCEL_RUN, VIEW_RUN, actor_of, may

__all__: list[str] = []


class RunInline(ReadOnlyInline):
    """Runs of an execution."""

    seen_with = (VIEW_RUN,)
    model = ExecutionRun
    shown = ("number", "status", "outputs", "error", "started_at", "seconds")

    @admin.display(description="seconds")
    def seconds(self, row: ExecutionRun) -> str:
        """How long it took, waits included.

        Args:
            row: The run.
        """
        return seconds_between(row.started_at, row.finished_at)


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin):
    """Executions."""

    seen_with = (VIEW_RUN,)
    list_display = ("created_at", "version", "status", "tenant", "id", "event")
    list_filter = ("status", ("version__workflow", OwnWorkflowsFilter), ("tenant", RedactedChoices))
    list_select_related = ("version__workflow",)
    search_fields = ("=id", "=event_id", "version__workflow__slug")
    inlines = (RunInline,)
    actions = ("cancel",)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may cancel.

        Args:
            request: The request.
        """
        return may(request.user, CANCEL_RUN)

    @admin.action(description="Cancel selected executions", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Execution]) -> None:
        """Cancel those of the chosen executions that have not ended.

        Args:
            request: The request.
            queryset: The chosen ones.
        """
        ids = list(queryset.order_by().values_list("pk", flat=True))
        cancelled = cancel_executions(ids, actor=actor_of(request))
        text = f"{cancelled} executions cancelled."
        if ended := len(ids) - cancelled:
            text += f" {ended} had ended."
        self.message_user(request, text, messages.WARNING if ended else messages.SUCCESS)


class StepInline(ReadOnlyInline):
    """Steps of a run."""

    seen_with = (VIEW_RUN,)
    model = StepRun
    shown = ("step_id", "action", "attempt", "status", "result", "started_at", "seconds")

    @admin.display(description="output, error or reason")
    def result(self, row: StepRun) -> SafeString | str:
        """What came of the attempt: a step has no output where it failed or was skipped.

        Args:
            row: The attempt.
        """
        if row.error is not None:
            return pretty(row.error)
        return redact_text(row.reason) if row.reason else pretty(row.output)

    @admin.display(description="seconds")
    def seconds(self, row: StepRun) -> str:
        """How long the attempt took.

        Args:
            row: The attempt.
        """
        return seconds_between(row.started_at, row.finished_at)


@admin.register(ExecutionRun)
class ExecutionRunAdmin(ReadOnlyAdmin):
    """Runs, with their steps."""

    seen_with = (VIEW_RUN,)
    list_display = ("started_at", "version", "status", "seconds", "number", "id")
    shown = (
        "version", "event", "execution", "number", "status", "error", "outputs", "started_at", "finished_at", "seconds",
        "id", "trace_id", "idempotency_run_id", "job_id",
    )  # fmt: skip
    list_filter = ("status", ("execution__version__workflow", OwnWorkflowsFilter))
    list_select_related = ("execution__version__workflow",)
    search_fields = ("=id", "=execution__id", "=trace_id")
    inlines = (StepInline,)

    @admin.display(description="version", ordering="execution__version")
    def version(self, row: ExecutionRun) -> str:
        """The version that it runs.

        Args:
            row: The run.
        """
        return str(row.execution.version)

    @admin.display(description="event")
    def event(self, row: ExecutionRun) -> SafeString | str:
        """The event that started its execution.

        Args:
            row: The run.
        """
        return super().event(row.execution)

    @admin.display(description="seconds")
    def seconds(self, row: ExecutionRun) -> str:
        """How long it took, waits included.

        Args:
            row: The run.
        """
        return seconds_between(row.started_at, row.finished_at)


@admin.register(StepRun)
class StepRunAdmin(ReadOnlyAdmin):
    """Attempts of steps."""

    seen_with = (VIEW_RUN,)
    list_display = ("finished_at", "step_id", "action", "attempt", "status", "run_page")
    ordering = ("-pk",)
    list_filter = ("status", "action")
    ordered = ("step_id", "action")
    search_fields = ("=run__id", "step_id", "action")

    @admin.display(description="run")
    def run_page(self, row: StepRun) -> SafeString:
        """The run, with its other steps.

        Args:
            row: The attempt.
        """
        return link(row.run_id, "automate_executionrun_change", row.run_id)
