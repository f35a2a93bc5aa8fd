"""``automate rules lint``: what is wrong with rules, without any data?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from automate_core.errors import ConfigurationError

from automate.commands import add_common_options, print_json
from automate.commands.json_input import read_argument

if TYPE_CHECKING:
    from automate_core.rules import Finding

__all__ = ["Lint"]


class Lint:
    """Look at rules, without any data. Nothing is written."""

    name: ClassVar[str] = "lint"
    help: ClassVar[str] = "find unknown variables, wrong types and conditions that cannot matter, without any data"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser of this subcommand.
        """
        parser.add_argument("slugs", nargs="*", metavar="SLUG", help="these workflows; default: all that are live")
        parser.add_argument("--rule", metavar="JSON", help="a rule: JSON, a file of it, or - for the standard input")
        parser.add_argument("--schema", metavar="JSON", help="JSON Schema of its data, given in the same way")
        parser.add_argument("--strict", action="store_true", help="exit with 1 on warnings too; notes never count")
        add_common_options(parser)

    def does_without_project(self, args: argparse.Namespace) -> bool:
        """Return whether there is a rule, so that no database is asked.

        Args:
            args: The parsed arguments.
        """
        return args.rule is not None or args.schema is not None

    def handle(self, args: argparse.Namespace) -> int:
        """Look, and print what was found.

        Args:
            args: The parsed arguments.

        Returns:
            0; 1 where there is an error, with ``--strict`` also where there is a warning.

        Raises:
            ConfigurationError: If it is not clear what is to be looked at, or JSON cannot be read.
            RuleError: If the rule of ``--rule`` is not well formed.
            WorkflowNotFound: If a workflow is not live.
        """
        if args.rule is None and args.schema is not None:
            raise ConfigurationError("--schema belongs to --rule: that of a workflow is declared with event_type().")
        if args.rule is not None and args.slugs:
            raise ConfigurationError("Give workflows, or --rule, but not both.")
        findings = _of_a_rule(args) if args.rule is not None else _of_workflows(args)
        counting = {"error", "warning"} if args.strict else {"error"}
        return 1 if any(finding.severity in counting for finding in findings) else 0


def _of_a_rule(args: argparse.Namespace) -> Sequence[Finding]:
    from automate.rules import lint

    schema = None if args.schema is None else read_argument("--schema", args.schema)
    findings = lint(read_argument("--rule", args.rule), schema)
    if args.json:
        print_json([finding.as_dict() for finding in findings])
    else:
        sys.stdout.writelines(_line(finding) for finding in findings)
        sys.stdout.write(_summary(findings, "1 rule"))
    return findings


def _of_workflows(args: argparse.Namespace) -> Sequence[Finding]:
    from automate.linting import lint_live

    linted = lint_live(args.slugs, using=args.database)
    findings = [finding for one in linted for finding in one.findings]
    if args.json:
        print_json([one.as_dict() for one in linted])
        return findings
    for one in linted:
        if one.findings:
            sys.stdout.write(f"{one.workflow}{f' on {one.event}' if one.event else ''}\n")
            sys.stdout.writelines(f"  {_line(finding)}" for finding in one.findings)
    sys.stdout.write(_summary(findings, f"{len(linted)} workflow{'' if len(linted) == 1 else 's'}"))
    undeclared = sorted({one.event for one in linted if one.event and "*" not in one.event and not one.is_declared})
    if undeclared:
        sys.stdout.write(f"Not declared with event_type(), so little is known of: {', '.join(undeclared)}\n")
    return findings


def _line(finding: Finding) -> str:
    return f"{finding.severity:<8}{finding}\n"


def _summary(findings: Sequence[Any], what: str) -> str:
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning", "note")}
    said = [f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items() if count]
    return f"{what}: {', '.join(said) or 'nothing found'}\n"
