"""Saved cases of rules: data, and whether a rule is to match it. They are files, kept and run beside the code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automate_core.errors import AutomateError, ConfigurationError, WorkflowNotFound, nearby
from automate_core.schema import find_problems

from automate.commands.json_input import read_file
from automate.rules import explain

__all__ = ["CASES_SCHEMA", "Case", "Result", "read_cases", "run_case", "uses_workflows"]

_SOURCE = {
    "rule": {"description": "JSONLogic."},
    "workflow": {"type": "string", "description": "Slug of the workflow whose trigger has the rule."},
}
_CASE = {
    "type": "object",
    "properties": {
        **_SOURCE,
        "name": {"type": "string", "description": "What the case is about."},
        "data": {"description": "The payload of the event."},
        "expected": {"type": "boolean", "description": "Whether the rule is to match."},
    },
    "required": ["data", "expected"],
    "additionalProperties": False,
}
CASES_SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Cases of rules",
    "type": "object",
    "properties": {**_SOURCE, "cases": {"type": "array", "items": _CASE, "minItems": 1}},
    "required": ["cases"],
    "additionalProperties": False,
}
"""JSON Schema of a file of cases. A rule or a workflow of the file is that of the cases that name none."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Args:
        file: Where it is written.
        number: Its position in the file, from 1.
        name: What it is about.
        rule: The rule; None where it is that of a workflow.
        workflow: The workflow; None where it has a rule of its own.
        data: What the variables of the rule read.
        expected: Whether the rule is to match.
    """

    file: str
    number: int
    name: str
    rule: Any
    workflow: str | None
    data: Any
    expected: bool

    @property
    def label(self) -> str:
        """Where it is, and what it is about."""
        return f"{self.file} #{self.number}{f' {self.name}' if self.name else ''}"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case.

    Args:
        case: The case.
        matched: Whether the rule matched; None where it could not be asked.
        explanation: Why; None where it could not be asked, and for a workflow without a rule.
        error: Why it could not be asked.
    """

    case: Case
    matched: bool | None
    explanation: dict[str, Any] | None = None
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether the rule does what is expected."""
        return self.matched is self.case.expected

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        case = self.case
        about = {"file": case.file, "case": case.number, "name": case.name, "workflow": case.workflow}
        outcome = {"expected": case.expected, "matched": self.matched, "passed": self.passed, "error": self.error}
        return {**about, **outcome, "explanation": self.explanation}


def read_cases(paths: Iterable[str]) -> list[Case]:
    """Read cases.

    Args:
        paths: Files, and folders of which every ``.json`` file is read, at any depth.

    Returns:
        The cases, in the order of the paths; the files of a folder by name.

    Raises:
        ConfigurationError: If a file cannot be read or is not of the format, or a folder holds none.
    """
    found = [case for path in paths for file in _files(Path(path)) for case in _cases(file)]
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.json"))
    if not files:
        raise ConfigurationError(f"The folder {path} holds no .json file.")
    return files


def _cases(path: Path) -> list[Case]:
    content = read_file(path)
    problems = find_problems(CASES_SCHEMA, content)
    if problems:
        raise ConfigurationError(f"{path} is not a file of cases: {problems[0]}.")
    shared = {key: content[key] for key in ("rule", "workflow") if key in content}
    return [_case(path, number, given, shared) for number, given in enumerate(content["cases"], 1)]


def _case(path: Path, number: int, given: dict[str, Any], shared: dict[str, Any]) -> Case:
    own = {key: given[key] for key in ("rule", "workflow") if key in given} or shared
    if len(own) != 1:
        raise ConfigurationError(
            f"{path}: /cases/{number - 1} needs a rule or a workflow, and not both: give it one, or the whole file."
        )
    name = given.get("name", "")
    rule, workflow = own.get("rule"), own.get("workflow")
    return Case(str(path), number, name, rule, workflow, given["data"], given["expected"])


def uses_workflows(paths: Iterable[str]) -> bool:
    """Return whether there are cases of workflows, for which the project is needed.

    Args:
        paths: As in :func:`read_cases`.
    """
    return any(case.workflow is not None for case in read_cases(paths))


def run_case(case: Case, *, using: str = "default") -> Result:
    """Ask a rule about its case.

    Args:
        case: The case.
        using: The database for workflows that Python does not define.

    Returns:
        What became of it; a rule that cannot be asked is a failure, and no error.
    """
    try:
        rule = case.rule if case.workflow is None else _rule_of(case.workflow, using)
        if case.workflow is not None and rule is None:
            return Result(case, True)
        tree = explain(rule, case.data)
    except AutomateError as error:
        return Result(case, None, error=str(error))
    return Result(case, bool(tree["result"]), tree)


def _rule_of(slug: str, using: str) -> Any:
    """Return the rule of a workflow: as the code defines it, else of its live version."""
    from automate.builder import definitions

    defined = {str(builder._definition["slug"]): builder for builder in definitions.all()}
    if slug in defined:
        return getattr(defined[slug].definition().trigger, "rule", None)
    from automate.models import WorkflowVersion

    versions = WorkflowVersion.objects.using(using).filter(live=True)
    version = versions.filter(workflow__slug=slug).first()
    if version is None:
        slugs = {*defined, *versions.values_list("workflow__slug", flat=True)}
        raise WorkflowNotFound(f"No workflow {slug!r} is defined or live.{nearby(slug, slugs)}")
    return version.trigger_spec.get("rule")
