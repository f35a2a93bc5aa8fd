"""Every hook, setting, command, error and public name is documented, and says something."""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import get_args
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from automate_core import errors, hookspecs, settings
from automate_core.cli import Command
from automate_core.registry import registry
from django.core.management import BaseCommand, get_commands, load_command_class
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ["automate", "automate_core", "automate_outbox", "automate_secrets"]
ROOTS += ["automate_connectors", "automate_llm", "automate_rag", "rag"]

sys.path.append(str(ROOT / "docs" / "_ext"))
from automate_reference import home, public_modules  # noqa: E402 - it is not installed


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as Sphinx understands it, in XML."""
    target = tmp_path_factory.mktemp("docs")
    trees = os.environ.get("AUTOMATE_DOCTREES", target / "trees")  # where they were read a moment ago, they serve
    folders = ["-d", trees, ROOT / "docs", target / "xml"]
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-b", "xml", *folders]
    done = subprocess.run(list(map(str, sphinx)), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return target / "xml"


def read(pages: Path, name: str) -> Element:
    return ElementTree.parse(pages / f"{name}.xml").getroot()


def described(pages: Path) -> dict[str, str]:
    """Return what is said about each documented object, by its full name."""
    found = {}
    for page in pages.rglob("*.xml"):
        for description in ElementTree.parse(page).getroot().iter("desc"):
            content = description.find("desc_content")
            text = "" if content is None else " ".join("".join(content.itertext()).split())
            for signature in description.findall("desc_signature"):
                found.update(dict.fromkeys(signature.get("ids", "").split(), text))
    return found


def rows(page: Element) -> dict[str, list[str]]:
    """Return the cells of each row of the page's tables, by the first cell."""
    cells = [["".join(entry.itertext()).strip() for entry in row.findall("entry")] for row in page.iter("row")]
    return {first: rest for first, *rest in cells}


def titled(page: Element) -> dict[str, Element]:
    sections = [(section.find("title"), section) for section in page.iter("section")]
    return {"".join(title.itertext()): section for title, section in sections if title is not None}


def test_every_hook_is_documented_with_its_arguments(pages: Path) -> None:
    documented = described(pages)
    hooks = {name: value for name, value in vars(hookspecs).items() if name.startswith("automate_")}
    assert len(hooks) >= 8
    for name, hook in hooks.items():
        text = documented.get(f"automate_core.hookspecs.{name}")
        assert text, f"{name} is not documented"
        for argument in inspect.signature(hook).parameters:
            assert argument in text, f"{name} does not say what {argument} is"


def every_setting(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        full, annotation = f"{prefix}{field.alias or name}", field.annotation
        if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
            yield from every_setting(f"{full}.", annotation)
            continue
        yield full
        for nested in get_args(annotation):
            if inspect.isclass(nested) and issubclass(nested, BaseModel):
                yield from every_setting(f"{full}.<name>.", nested)


def test_every_setting_is_documented_with_type_default_and_meaning(pages: Path) -> None:
    documented = rows(read(pages, "reference/settings"))
    expected = list(every_setting("", settings.Settings))
    assert "EXECUTION.timeout_seconds" in expected
    assert documented["EXECUTION.timeout_seconds"][:2] == ["int", "60"]
    for name in expected:
        kind, default, meaning = documented[name]
        assert kind, name
        assert default, name
        assert meaning not in ("", "None"), f"{name} has no description"


def every_command() -> Iterator[tuple[str, str, list[str]]]:
    """Yield title, help and spelled arguments of each command."""
    for key in registry.keys("commands"):
        command: Command = registry.load("commands", key)(registry)
        parser = argparse.ArgumentParser(add_help=False)
        command.configure(parser)
        yield f"automate {key.replace('_', '-')}", command.help, list(spelled(parser, set()))
    usual = {action.dest for action in BaseCommand().create_parser("manage.py", "x")._actions}
    for name, app in get_commands().items():
        if app.split(".")[0] in ROOTS:
            managed = load_command_class(app, name)
            yield f"manage.py {name}", managed.help, list(spelled(managed.create_parser("manage.py", name), usual))


def spelled(parser: argparse.ArgumentParser, usual: set[str], before: str = "") -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, subparser in action.choices.items():
                yield f"{before}{name}"
                yield from spelled(subparser, {*usual, "help"}, f"{before}{name} ")
        elif action.dest not in usual:
            yield before + (", ".join(action.option_strings) or action.dest)


def test_every_command_is_documented_with_its_arguments(pages: Path) -> None:
    sections = titled(read(pages, "reference/commands"))
    commands = list(every_command())
    assert {"automate plugins", "manage.py automate_worker"} <= {name for name, _, _ in commands}
    for name, summary, arguments in commands:
        assert summary, f"{name} has no help"
        assert name in sections, f"{name} is not documented"
        documented = rows(sections[name])
        assert [f"{name} {argument}" for argument in arguments if not documented.get(argument, ("",))[-1]] == []


def test_every_operator_of_rules_is_documented(pages: Path) -> None:
    from automate_core.rules import engine_for
    from automate_core.rules.extensions import EXTENSIONS

    page = read(pages, "reference/rules")
    first_cells = [row.findall("entry")[:2] for row in page.iter("row")]
    named = {"".join(name.itertext()) for cells in first_cells for cell in cells for name in cell.iter("literal")}
    operators = {
        *engine_for().operators,
        *engine_for("community").operators,
        *engine_for(extensions=EXTENSIONS).operators,
    }
    assert len(operators) > 50
    assert sorted((operators | set(EXTENSIONS)) - named) == []


def recorded_actions() -> set[str]:
    """Return the actions that any package writes into the audit log: what looks like one, where one is recorded."""
    found: set[str] = set()
    for source in (ROOT / "packages").glob("*/src/automate*/**/*.py"):
        nodes = list(ast.walk(ast.parse(source.read_text())))
        calls = [node.func for node in nodes if isinstance(node, ast.Call)]
        if {getattr(call, "id", getattr(call, "attr", "")) for call in calls} & {"record", "record_many", "reseal"}:
            found.update(str(node.value) for node in nodes if isinstance(node, ast.Constant))
    actions = {text for text in found if re.fullmatch(r"[a-z][a-z_]*\.[a-z][a-z_]*", text)}
    return {text for text in actions if not text.startswith("automate.")}  # loggers, and kinds of outbox items


def test_every_action_of_the_audit_log_is_documented_with_a_test_that_there_is() -> None:
    page = (ROOT / "docs" / "how-to" / "audit.md").read_text()
    rows = [
        [cell.strip(" `") for cell in row.strip("|").split("|")] for row in page.splitlines() if row.endswith("` |")
    ]
    documented = {row[1]: row[-1] for row in rows if len(row) == 4}
    tests = "".join(source.read_text() for source in (ROOT / "packages").glob("*/tests/**/test_*.py"))
    assert {"workflow.published", "policy.changed"} <= recorded_actions()
    assert sorted(recorded_actions() - documented.keys()) == []
    assert [test for test in documented.values() if f"def {test}(" not in tests] == []


def every_error(base: type[errors.AutomateError]) -> Iterator[type[errors.AutomateError]]:
    yield base
    for derived in base.__subclasses__():
        yield from every_error(derived)


def test_every_error_is_documented_and_stands_in_the_tree(pages: Path) -> None:
    for module in (name for root in ROOTS for name in public_modules(root)):
        import_module(module)
    documented = described(pages)
    tree = next("".join(block.itertext()) for block in read(pages, "reference/errors").iter("literal_block"))
    drawn = {word for line in tree.splitlines() for word in [line.strip("│├└─ ").partition(" ")[0].partition("(")[0]]}
    ours = [error for error in every_error(errors.AutomateError) if error.__module__.split(".")[0] in ROOTS]
    assert len(ours) > 30
    for error in ours:
        assert error.__module__ == "automate_core.errors", f"{error.__qualname__} belongs into automate_core.errors"
        assert error.__name__ in drawn, f"{error.__name__} is not drawn in the tree"
        said = documented.get(f"automate_core.errors.{error.__name__}", "")
        assert said, f"{error.__name__} is not documented"
        if error is not errors.AutomateError:
            assert f"Code {error.default_code}" in said, f"the code of {error.__name__} is not documented"


@pytest.mark.parametrize("root", ROOTS)
def test_every_public_class_and_function_is_documented(root: str, pages: Path) -> None:
    documented = described(pages)
    public = [
        getattr(import_module(name), member) for name in public_modules(root) for member in import_module(name).__all__
    ]
    ours = {home(value) for value in public if inspect.isclass(value) or isinstance(value, FunctionType)} - {""}
    assert ours
    assert sorted(name for name in ours if not documented.get(name)) == []


def test_every_test_that_the_hardening_review_names_exists() -> None:
    page = (ROOT / "docs" / "explanation" / "hardening.md").read_text()
    named = re.findall(r"`((?:packages|tests)/[\w/.-]+)(?:::(\w+))?`", page)
    assert len(named) > 40
    missing = []
    for path, name in named:
        file = ROOT / path
        if not file.exists() or (name and f"def {name}(" not in file.read_text()):
            missing.append(f"{path}::{name}")
    assert not missing, f"the hardening review names tests that are not there: {', '.join(missing)}"
