"""``automate rules test``: run saved cases of rules."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, ClassVar

from automate.commands import add_common_options, print_json
from automate.commands.rules.explain import wants_colors

if TYPE_CHECKING:
    from automate.rule_cases import Result

__all__ = ["Test"]


class Test:
    """Ask rules about saved cases, and compare with what is expected. Nothing is written."""

    name: ClassVar[str] = "test"
    help: ClassVar[str] = "run saved cases: does each rule match what it should, and nothing else?"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser of this subcommand.
        """
        parser.add_argument("paths", nargs="+", metavar="FILE", help="files of cases, and folders of such .json files")
        add_common_options(parser)

    def does_without_project(self, args: argparse.Namespace) -> bool:
        """Return whether every case has a rule of its own.

        Args:
            args: The parsed arguments.
        """
        from automate.rule_cases import uses_workflows

        return not uses_workflows(args.paths)

    def handle(self, args: argparse.Namespace) -> int:
        """Run the cases and print what became of them.

        Args:
            args: The parsed arguments.

        Returns:
            0; 1 where a rule does not do what is expected, or cannot be asked.

        Raises:
            ConfigurationError: If a file cannot be read or is not of the format.
        """
        from automate.rule_cases import read_cases, run_case

        results = [run_case(case, using=args.database) for case in read_cases(args.paths)]
        failed = [result for result in results if not result.passed]
        if args.json:
            print_json([result.as_dict() for result in results])
        else:
            for result in failed:
                sys.stdout.write(_described(result) + "\n")
            sys.stdout.write(f"{len(results) - len(failed)} passed, {len(failed)} failed\n")
        return 1 if failed else 0


def _described(result: Result) -> str:
    from automate_core.rules import format_explanation

    case = result.case
    wanted = "match" if case.expected else "not match"
    lines = [f"FAILED {case.label}"]
    if result.error:
        lines.append(f"  the rule cannot be asked: {result.error}")
    else:
        lines.append(f"  should {wanted}, and {'matches' if result.matched else 'does not'}")
    if result.explanation is not None:
        text = format_explanation(result.explanation, colored=wants_colors())
        lines += [f"    {line}" for line in text.splitlines()]
    elif not result.error:
        lines.append(f"    workflow {case.workflow!r} has no rule: every event of its type matches")
    return "\n".join([*lines, ""])
