"""``automate rules explain``: why did this event start that workflow, or not?"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from automate_core.errors import ConfigurationError, nearby

from automate.commands import add_common_options, print_json
from automate.commands.json_input import read_argument
from automate.commands.people import show_time

if TYPE_CHECKING:
    from automate.explaining import Explained
    from automate.models import Event

__all__ = ["Explain", "wants_colors"]


class Explain:
    """Tell why rules match, or do not. Nothing is written."""

    name: ClassVar[str] = "explain"
    help: ClassVar[str] = "tell why an event started workflows, or did not; or why a rule matches data"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser of this subcommand.
        """
        parser.add_argument("event", nargs="?", help="the id of an event; or give --rule and --data")
        parser.add_argument("--workflow", metavar="SLUG", help="this workflow alone, whether it listens or not")
        parser.add_argument("--rule", metavar="JSON", help="a rule: JSON, a file of it, or - for the standard input")
        parser.add_argument("--data", metavar="JSON", help="what its variables read, given in the same way")
        add_common_options(parser)

    def does_without_project(self, args: argparse.Namespace) -> bool:
        """Return whether there is a rule and data, so that no database is asked.

        Args:
            args: The parsed arguments.
        """
        return args.rule is not None or args.data is not None

    def handle(self, args: argparse.Namespace) -> int:
        """Explain, and print it.

        Args:
            args: The parsed arguments.

        Returns:
            0, whether anything matched or not.

        Raises:
            ConfigurationError: If it is not clear what is to be explained, or JSON cannot be read.
            EventNotFound: If there is no such event.
            WorkflowNotFound: If there is no such workflow.
            RuleError: If the rule is not well formed.
        """
        _ensure_clear(args)
        if args.event is None:
            _explain_rule(args)
        else:
            _explain_event(args)
        return 0


def wants_colors() -> bool:
    """Return whether the standard output is a terminal that shows colors."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _ensure_clear(args: argparse.Namespace) -> None:
    if args.event is None and args.rule is None and args.data is None:
        raise ConfigurationError("What is to be explained? Give the id of an event, or --rule and --data.")
    if args.event is not None and (args.rule is not None or args.data is not None):
        raise ConfigurationError("Give the id of an event, or --rule and --data, but not both.")
    if args.event is None and (args.rule is None or args.data is None):
        raise ConfigurationError("--rule and --data belong together: a rule is explained for data.")
    if args.event is None and args.workflow is not None:
        raise ConfigurationError("--workflow belongs to the id of an event.")
    if args.rule == args.data == "-":
        raise ConfigurationError("Only one of --rule and --data can be the standard input.")


def _explain_rule(args: argparse.Namespace) -> None:
    from automate.rules import explain, format_explanation

    tree = explain(read_argument("--rule", args.rule), read_argument("--data", args.data))
    if args.json:
        print_json(tree)
    else:
        sys.stdout.write(format_explanation(tree, colored=wants_colors()) + "\n")


def _explain_event(args: argparse.Namespace) -> None:
    from automate.explaining import explain_event, find_event

    event = find_event(args.event, using=args.database)
    found = explain_event(event, args.workflow, using=args.database)
    if args.json:
        about = {"id": str(event.pk), "type": event.type, "created_at": event.created_at}
        print_json({"event": about, "decisions": [one.as_dict() for one in found]})
        return
    sys.stdout.write(f"{event.type}  {event.pk}  {show_time(event.created_at)}\n")
    for one in found:
        sys.stdout.write("\n" + _described(one))
    if not found:
        sys.stdout.write(f"\n{_nobody(event, args.database)}\n")


def _described(one: Explained) -> str:
    from automate_core.rules import format_explanation

    outcome = "matched" if one.matched else "did not match"
    when = "as it was decided" if one.stored else "asked now: no decision about this event is stored"
    shadow = ", a shadow, which never runs," if one.shadow else ""
    lines = [f"{one.workflow} v{one.version}{shadow} {outcome} ({when})"]
    lines += [f"  {_printable(one.reason)}"] if one.reason else []
    if one.explanation is not None:
        text = format_explanation(one.explanation, colored=wants_colors())
        lines += [f"  {line}" for line in text.splitlines()]
    return "\n".join([*lines, ""])


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _nobody(event: Event, using: str) -> str:
    from automate.models import WorkflowVersion

    live = WorkflowVersion.objects.using(using).filter(live=True, workflow__enabled=True).exclude(trigger_event="")
    types: set[Any] = set(live.values_list("trigger_event", flat=True))
    hint = nearby(event.type, types).replace("Known:", "There are workflows for:") if types else " No workflow is live."
    return f"No live workflow listens to {event.type!r}.{hint}"
