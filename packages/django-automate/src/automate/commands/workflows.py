"""``automate workflows``: list them; make a shadow live, or end it; enable a workflow, or disable it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from automate.commands import ProjectCommand, add_common_options, print_json
from automate.commands.people import actor, columns

__all__ = ["WorkflowsCommand"]


class WorkflowsCommand(ProjectCommand):
    """List the workflows, or decide what becomes of one, or of its shadow."""

    help: ClassVar[str] = "list the workflows; enable one, or disable it; make its shadow the live version, or end it"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the actions.

        Args:
            parser: The parser of this subcommand.
        """
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        add_common_options(actions.add_parser("list", help="show each with its live version, and what it listens to"))
        for name, text in (
            ("promote", "make the shadow the live version"),
            ("drop-shadow", "end the shadow; its decisions stay"),
            ("enable", "let it listen and run again"),
            ("disable", "let no event and nobody start it; what was started goes on"),
        ):
            action = actions.add_parser(name, help=text, description=text)
            action.add_argument("slug", help="the workflow")
            action.add_argument("--json", action="store_true", help="print JSON: what 'list' shows of it, as it is now")

    def handle(self, args: argparse.Namespace) -> int:
        """Do what was asked for.

        Args:
            args: The parsed arguments.

        Returns:
            0.
        """
        if args.action == "list":
            _list(args)
            return 0
        from automate import publish
        from automate.models import Workflow, WorkflowVersion

        changes: dict[str, tuple[Callable[..., Workflow | WorkflowVersion], str]] = {
            "promote": (publish.promote, "is live"),
            "drop-shadow": (publish.drop_shadow, "is no shadow any more; what it decided stays"),
            "enable": (publish.enable, "is enabled"),
            "disable": (publish.disable, "is disabled"),
        }
        change, outcome = changes[args.action]
        changed = change(args.slug, actor=actor("automate workflows"))
        if args.json:
            (row,) = _rows(str(changed._state.db), slug=args.slug)
            about = {"version": changed.version_num} if isinstance(changed, WorkflowVersion) else {}
            print_json({**row, **about})
        else:
            sys.stdout.write(f"{changed} {outcome}\n")
        return 0


def _list(args: argparse.Namespace) -> None:
    rows = _rows(args.database)
    if args.json:
        print_json(rows)
        return
    if not rows:
        sys.stdout.write("No workflows: 'manage.py automate_sync' publishes those of the automations modules.\n")
        return
    cells = [
        (
            row["workflow"],
            "enabled" if row["enabled"] else "disabled",
            *("-" if row[place] is None else f"v{row[place]}" for place in ("live", "shadow")),
            row["event"] or "-",
            row["tenant"] or "-",
        )
        for row in rows
    ]
    head = ("workflow", "state", "live", "shadow", "event", "tenant")
    sys.stdout.writelines(f"{line}\n" for line in columns(head, cells))


def _rows(using: str, **only: str) -> list[dict[str, Any]]:
    from automate.models import Workflow, WorkflowVersion
    from automate.models.workflows import LISTENING

    live: dict[int, WorkflowVersion] = {}
    shadows: dict[int, WorkflowVersion] = {}
    standing_for = {f"workflow__{name}": value for name, value in only.items()}
    for version in WorkflowVersion.objects.using(using).filter(LISTENING, **standing_for):
        (live if version.live else shadows)[version.workflow_id] = version
    rows = []
    for workflow in Workflow.objects.using(using).filter(**only).order_by("slug"):
        now, shadow = live.get(workflow.pk), shadows.get(workflow.pk)
        standing = now or shadow
        rows.append(
            {
                "workflow": workflow.slug,
                "enabled": workflow.enabled,
                "live": now and now.version_num,
                "shadow": shadow and shadow.version_num,
                "event": standing.trigger_event if standing else "",
                "tenant": workflow.tenant,
            }
        )
    return rows
