"""``automate policy``: show the policy, ask one about what has run, pause everything, let it go on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from automate_core import settings
from automate_core.errors import ConfigurationError
from automate_core.policy import effective_policy

from automate.commands import ProjectCommand, add_common_options, print_json
from automate.commands.json_input import read_argument
from automate.commands.options import WHEN, count, moment
from automate.commands.people import actor, printable, show_time

if TYPE_CHECKING:
    from automate_core.settings import PolicySettings

    from automate.policy.report import Group, PolicyReport

__all__ = ["PolicyCommand"]


class PolicyCommand(ProjectCommand):
    """Show and try policies; pause automation, and resume it."""

    help: ClassVar[str] = "show the policy, ask one about what has run, pause everything, let it go on"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the actions.

        Args:
            parser: The parser of this subcommand.
        """
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        text = "print what holds, for the installation or for a tenant, and whether anything runs"
        show = actions.add_parser("show", help=text, description=text)
        show.add_argument("--tenant", default="", help="the tenant; without it the installation")
        show.add_argument("--json", action="store_true", help="print JSON")
        text = "ask a policy about recent steps: what it would have refused; ends with 1 where that is anything"
        check = actions.add_parser("check", help=text, description=text)
        check.add_argument(
            "--file", metavar="JSON", help="the section POLICY as JSON, a file of it, or -; default: the settings"
        )
        check.add_argument("--since", type=moment, metavar="WHEN", help=f"steps that ended since: {WHEN}")
        check.add_argument("--limit", type=count, default=10_000, help="steps at the most; default: 10000")
        check.add_argument("--resolve", action="store_true", help="look up the addresses of hosts, as they are now")
        add_common_options(check)
        text = "stop everything within seconds: nothing is claimed, what runs is put down, events are kept"
        pause = actions.add_parser("pause", help=text, description=text)
        pause.add_argument("--reason", required=True, metavar="TEXT", help="why, for whoever finds it paused")
        pause.add_argument("--json", action="store_true", help="print JSON")
        text = "let everything go on from where it was"
        resume = actions.add_parser("resume", help=text, description=text)
        resume.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, args: argparse.Namespace) -> int:
        """Do what was asked for.

        Args:
            args: The parsed arguments.

        Returns:
            0, for a pause that is not on record too; 1 where a checked policy would have refused what was let through.
        """
        actions: dict[str, Callable[[argparse.Namespace], int]] = {
            "show": _show,
            "check": _check,
            "pause": _pause,
            "resume": _resume,
        }
        return actions[args.action](args)


# -- the switch -------------------------------------------------------------------------------------------------------


def _pause(args: argparse.Namespace) -> int:
    from automate.policy import switch

    result = switch.pause(args.reason, actor=actor("automate policy"))
    if args.json:
        print_json({"changed": result.changed, "unrecorded": result.unrecorded})
    elif result.changed:
        _say("Automation is paused. Running workers notice within seconds; 'automate policy resume' lets it go on.")
    else:
        _say(f"Nothing was changed. {switch.current_pause() or 'Somebody resumed it this moment.'}")
    if result.unrecorded:
        why = printable(result.unrecorded)
        sys.stderr.write(
            f"automate: paused, and not on record: {why}\nA worker records it once that can be done, and 'automate "
            "policy resume' goes on only with that entry.\n"
        )
    return 0


def _resume(args: argparse.Namespace) -> int:
    from automate.policy import switch

    changed = switch.resume(actor=actor("automate policy"))
    if args.json:
        print_json({"changed": changed, "enabled": settings.current().enabled})
        return 0
    _say("Automation goes on." if changed else "Automation was not paused.")
    if not settings.current().enabled:
        _say("Nothing runs all the same: DJANGO_AUTOMATE['ENABLED'] is False.")
    return 0


# -- show -------------------------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace) -> int:
    from automate_core.registry import registry

    from automate.policy.switch import current_pause

    current, paused = settings.current(), current_pause()
    effective = effective_policy(current.policy, args.tenant)
    layers: dict[str, dict[str, Any]] = {"POLICY": current.policy.model_dump(mode="json", exclude={"tenants"})}
    if effective.entry is not None:
        narrower = current.policy.tenants[effective.entry]
        layers[f"POLICY.tenants.{effective.entry}"] = narrower.model_dump(mode="json", exclude_none=True)
    found = {
        "tenant": args.tenant,
        "enabled": current.enabled,
        "paused": None if paused is None else asdict(paused),
        "layers": layers,
        "actions": {name: effective.actions.allows(name) for name in sorted(registry.list_actions())},
    }
    if args.json:
        print_json(found)
        return 0
    state = "runs" if current.enabled else "is switched off: ENABLED is False"
    _say(str(paused) if paused is not None else f"Automation {state}.")
    if paused is not None and not paused.recorded:
        _say("The audit log does not have that yet.")
    for where, values in layers.items():
        _say(where)
        for name, value in values.items():
            shown = ", ".join(value) or "-" if isinstance(value, list) else value
            _say(f"  {name}: {shown}")
    if effective.entry is not None:
        _say("A call must pass all of these.")
    for title, verdict in (("allowed", True), ("refused", False)):
        names = [name for name, allowed in found["actions"].items() if allowed is verdict]
        _say(f"{title} actions: {', '.join(names) or '-'}")
    return 0


# -- check ------------------------------------------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> int:
    from automate.policy.replay import replay, resolve

    report = replay(
        _proposed(args.file),
        since=args.since,
        limit=args.limit,
        resolver=resolve if args.resolve else None,
        using=args.database,
        progress=_progress,
    )
    if args.json:
        print_json(report.as_dict())
    else:
        _describe(report)
    return 1 if report.blocks else 0


def _proposed(given: str | None) -> PolicySettings:
    if given is None:
        return settings.current().policy
    section = read_argument("--file", given)
    if not isinstance(section, dict):
        raise ConfigurationError("--file takes the section POLICY: an object of settings.")
    return settings.parse({"POLICY": section}).policy


def _progress(seen: int) -> None:
    sys.stderr.write(f"check: {seen} steps\n")


def _describe(report: PolicyReport) -> None:
    _say(f"{report.steps} steps, from {show_time(report.oldest)} to {show_time(report.newest)}")
    if not report.complete:
        _say("Older ones were left out: raise --limit.")
    _say(f"{report.blocks} that were let through would be refused{':' if report.blocked else '.'}")
    _groups(report.blocked)
    if report.allowed:
        _say(f"{sum(group.count for group in report.allowed)} that were refused would be let through:")
        _groups(report.allowed)
    if report.blocked_before:
        _say(f"{report.blocked_before} {'was' if report.blocked_before == 1 else 'were'} refused, and would be again.")
    if report.by_name:
        _say(f"{report.by_name} were judged by the name of their host alone; --resolve looks its addresses up.")
    if report.unknown:
        _say(f"{report.unknown} do not tell which hosts they called, and were judged by their action alone.")
    if report.left_out:
        _say(f"{report.left_out} of further groups are not shown.")


def _groups(groups: Iterable[Group]) -> None:
    for group in groups:
        tenant = f" of {group.tenant}" if group.tenant else ""
        _say(f"{group.count:>7}  {group.workflow}{tenant}: {group.action}, by {group.setting}")
        for example in group.examples:
            _say(f"         {show_time(example.at)}  run {example.run}, step {example.step}: {example.message}")


def _say(text: str) -> None:
    sys.stdout.write(f"{printable(text)}\n")
