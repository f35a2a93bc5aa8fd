"""Directives that write the reference from the code: hooks, settings, commands, errors and the public API.

Each enumerates what exists, so that nothing can be added to the code and be missing here.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any, ParamSpec, TypeVar, get_args

from automate_core import errors, settings
from automate_core.cli import Command
from automate_core.registry import registry
from automate_core.specs import KINDS
from docutils import nodes
from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

PAGES_OF_THEIR_OWN = {"automate_core.errors": "errors", "automate_core.hookspecs": "hooks"}
OURS = ("automate", "rag")
NOT_API = {"admin", "apps", "management", "migrations"}


class Written(SphinxDirective):
    """A directive whose content is Markdown, made by :meth:`lines`.

    Where it has headings it begins with one: MyST drops what stands before the first heading of a nested text.
    """

    def lines(self) -> Iterator[str]:
        """Yield the Markdown, line by line."""
        raise NotImplementedError(type(self).__name__)

    def run(self) -> list[nodes.Node]:
        """Parse what was written."""
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)


def autodoc(directive: str, name: str, *options: str, content: str = "") -> Iterator[str]:
    """Yield one directive of autodoc, with a last paragraph in reStructuredText."""
    yield from ("```{eval-rst}", f".. {directive}:: {name}", *(f"   :{option}" for option in options))
    yield from ("", f"   {content}", "```", "")


def cell(text: object) -> str:
    """Return a text that can stand in the cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


class Hooks(Written):
    """Every hook, with its arguments."""

    def lines(self) -> Iterator[str]:
        """Yield one entry for each kind of plugin."""
        for kind in KINDS:
            yield from autodoc("autofunction", f"automate_core.hookspecs.automate_register_{kind}")
        for marker in ("hookimpl", "hookspec", "PROJECT_NAME"):
            yield from autodoc("autodata", f"automate_core.hookspecs.{marker}", "no-value:")


class Settings(Written):
    """Every setting, with type, default and meaning."""

    def lines(self) -> Iterator[str]:
        """Yield a table of the plain settings and one of each section."""
        fields = settings.Settings.model_fields
        sections = {name: field for name, field in fields.items() if is_section(field.annotation)}
        yield from ("## Top level", "")
        yield from self.table("", {name: field for name, field in fields.items() if name not in sections})
        for field in sections.values():
            section: Any = field.annotation
            yield from (f"## {field.alias}", "", inspect.getdoc(section) or "", "")
            yield from self.table(f"{field.alias}.", section.model_fields)

    def table(self, prefix: str, fields: dict[str, Any]) -> Iterator[str]:
        """Yield the table of one section; what is nested in it follows in the same table."""
        yield from ("| Setting | Type | Default | Meaning |", "|---|---|---|---|")
        yield from self.rows(prefix, fields)
        yield ""

    def rows(self, prefix: str, fields: dict[str, Any]) -> Iterator[str]:
        """Yield the rows."""
        for name, field in fields.items():
            full = f"{prefix}{field.alias or name}"
            if is_section(field.annotation):
                yield from self.rows(f"{full}.", field.annotation.model_fields)
                continue
            default = (
                "required" if field.is_required() else f"`{plain(field.get_default(call_default_factory=True))!r}`"
            )
            yield f"| `{full}` | `{cell(type_name(field.annotation))}` | {cell(default)} | {cell(field.description)} |"
            for nested in get_args(field.annotation):
                if is_section(nested):
                    yield from self.rows(f"{full}.<name>.", nested.model_fields)


def is_section(annotation: Any) -> bool:
    """Whether a field holds settings of its own."""
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def plain(value: Any) -> Any:
    """Return a default as a settings file would write it."""
    if isinstance(value, tuple):
        return list(value)
    return float(value) if type(value).__name__ == "Decimal" else value


def type_name(annotation: Any) -> str:
    """Return a type as people write it."""
    text = annotation.__name__ if inspect.isclass(annotation) and not get_args(annotation) else str(annotation)
    for old, new in (
        ("typing.", ""),
        ("decimal.", ""),
        ("automate_core.settings.", ""),
        ("automate_core._secret_access.", ""),
        (", ...", ""),
        ("tuple", "list"),
    ):
        text = text.replace(old, new)
    return text.replace("Decimal", "float")


class ConsoleCommands(Written):
    """Every subcommand of ``automate``."""

    def lines(self) -> Iterator[str]:
        """Yield help and arguments of each."""
        for key in registry.keys("commands"):
            command: Command = registry.load("commands", key)(registry)
            parser = argparse.ArgumentParser(add_help=False)
            command.configure(parser)
            yield from (f"## `automate {key.replace('_', '-')}`", "", f"{sentence(command.help)}", "")
            yield from arguments(parser, set())


class ManagementCommands(Written):
    """Every management command."""

    def lines(self) -> Iterator[str]:
        """Yield help and arguments of each."""
        from django.core.management import BaseCommand, get_commands, load_command_class

        usual = {action.dest for action in BaseCommand().create_parser("manage.py", "x")._actions}
        for name, app in sorted(get_commands().items()):
            if app.startswith("automate"):
                command = load_command_class(app, name)
                yield from (f"## `manage.py {name}`", "", sentence(command.help), "")
                yield from arguments(command.create_parser("manage.py", name), usual)


def sentence(text: str) -> str:
    """Return a help text as a sentence."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def arguments(parser: argparse.ArgumentParser, usual: set[str]) -> Iterator[str]:
    """Yield the table of a parser's arguments, but those that every command has."""
    rows = list(argument_rows(parser, usual))
    if rows:
        yield from ("| Argument | Default | Meaning |", "|---|---|---|", *rows, "")


def argument_rows(parser: argparse.ArgumentParser, usual: set[str], before: str = "") -> Iterator[str]:
    """Yield a row for each argument, and for each subcommand and its arguments."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for (name, subparser), choice in zip(action.choices.items(), action._choices_actions, strict=True):
                yield f"| `{before}{name}` | | {cell(choice.help)} |"
                yield from argument_rows(subparser, usual | {"help"}, f"{before}{name} ")
        elif action.dest not in usual:
            name = ", ".join(action.option_strings) or action.dest
            default = "" if action.default in (None, False, "", argparse.SUPPRESS) else f"`{action.default}`"
            yield f"| `{before}{name}` | {default} | {cell((action.help or '') % {'default': action.default})} |"


class Errors(Written):
    """The error tree, and each class with its code."""

    def lines(self) -> Iterator[str]:
        """Yield the tree as drawn in the module, then the classes."""
        drawing = (inspect.getdoc(errors) or "").partition("::\n")[2].partition("\n\n\n")[0]
        tree = [line[4:] for line in drawing.splitlines() if line.startswith("    ")]
        yield from ("## The tree", "", "```text", *tree, "```", "", "## The base", "")
        yield from autodoc("autoexception", "automate_core.errors.AutomateError")
        yield from ("## The classes", "")
        for name in errors.__all__:
            value = getattr(errors, name)
            if inspect.isclass(value) and issubclass(value, errors.AutomateError) and value is not errors.AutomateError:
                content = f"Code ``{value.default_code}``{', retryable' if value.retryable else ''}."
                signature = f"automate_core.errors.{name}(message)"
                yield from autodoc("autoexception", signature, "show-inheritance:", content=content)
        yield from ("## Codes and messages", "")
        yield from autodoc("autoclass", "automate_core.errors.ErrorCodes", "no-show-inheritance:")
        yield from ("| Code | Name |", "|---|---|")
        yield from (f"| `{code.value}` | `ErrorCodes.{code.name}` |" for code in errors.ErrorCodes)
        yield ""
        yield from autodoc("autofunction", "automate_core.errors.nearby")


class Api(Written):
    """Every public module of a package: those with ``__all__`` and no underscore in front of a name."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        """Yield each module with the names that it defines, and where the others come from."""
        for name in public_modules(self.arguments[0]):
            if name in PAGES_OF_THEIR_OWN:
                yield from (
                    f"## {name}",
                    "",
                    f"See [{PAGES_OF_THEIR_OWN[name]}](../{PAGES_OF_THEIR_OWN[name]}.md).",
                    "",
                )
                continue
            module = importlib.import_module(name)
            own = [member for member in module.__all__ if defined_in(module, member)]
            foreign = {member: home(getattr(module, member)) for member in module.__all__ if member not in own}
            yield from (f"## {name}", "")
            yield from autodoc("automodule", name, *([f"members: {', '.join(own)}"] if own else []))
            for member, source in foreign.items():
                yield f"- `{member}`: see {{py:obj}}`{source}`" if source else f"- `{member}`"
            yield ""


def public_modules(package: str) -> Iterator[str]:
    """Yield the names of a package's public modules, the package first."""
    root = importlib.import_module(package)
    names = [package, *(module.name for module in pkgutil.walk_packages(root.__path__, f"{package}."))]
    for name in names:
        parts = name.split(".")
        if any(part.startswith("_") or part in NOT_API for part in parts):
            continue
        if hasattr(importlib.import_module(name), "__all__"):
            yield name


def defined_in(module: Any, member: str) -> bool:
    """Whether a public name belongs to a module, rather than being passed on by it."""
    if member.startswith("__"):
        return False
    return home(getattr(module, member)) in ("", f"{module.__name__}.{member}")


def home(value: Any) -> str:
    """Return the public name of something of ours; empty where it is a plain value, or not ours.

    What a private module defines belongs to the public module of its package that passes it on.
    """
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not module or not name or not module.startswith(OURS):
        return ""
    if not any(part.startswith("_") for part in module.split(".")):
        return f"{module}.{name}"
    return public_names(module.partition(".")[0]).get(f"{module}.{name}", f"{module}.{name}")


@functools.cache
def public_names(package: str) -> dict[str, str]:
    """Return the public name of what the private modules of a package define, by the full name."""
    found: dict[str, str] = {}
    for name in [*list(public_modules(package))[1:], package]:
        for member in importlib.import_module(name).__all__:
            value = getattr(importlib.import_module(name), member)
            # A method of Python's own, which a name of ours may stand for, has no module.
            if hasattr(value, "__qualname__") and hasattr(value, "__module__"):
                found.setdefault(f"{value.__module__}.{value.__qualname__}", f"{name}.{member}")
    return found


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Node | None:
    """Resolve what docstrings write: the bare name of an error, and a name where it is imported from, not defined."""
    target = str(node.get("reftarget", ""))
    bare = target.rpartition(".")[2]
    if node.get("refdomain") != "py":
        return None
    value = getattr(errors, bare) if bare in errors.__all__ else find(target)
    if isinstance(value, TypeVar | ParamSpec):
        return content  # what stands for any type has no page to lead to
    return env.domains.python_domain.resolve_xref(env, node["refdoc"], app.builder, "obj", home(value), node, content)


def find(target: str) -> Any:
    """Return the object of a full name of ours; None where there is none."""
    module, _, name = target.rpartition(".")
    if not module.startswith(OURS):
        return None
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError:  # the name of a method: its class is no module
        return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    for name, directive in {
        "automate-hooks": Hooks,
        "automate-settings": Settings,
        "automate-console-commands": ConsoleCommands,
        "automate-management-commands": ManagementCommands,
        "automate-errors": Errors,
        "automate-api": Api,
    }.items():
        app.add_directive(name, directive)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
