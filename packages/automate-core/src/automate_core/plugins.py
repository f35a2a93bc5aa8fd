"""The loader: finds plugins by entry point, isolates what is broken, and says why.

pluggy's own loader stops at the first broken plugin; this one gives each a state.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

import pluggy

from automate_core import hookspecs
from automate_core.__about__ import __version__
from automate_core.errors import PluginLoadError
from automate_core.redaction import redact_text

__all__ = ["PluginInfo", "load_plugins", "load_target"]

logger = logging.getLogger("automate.plugins")

State = Literal["loaded", "blocked", "incompatible", "failed"]


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One plugin and what became of it.

    Args:
        name: The name of its entry point.
        distribution: The distribution that brings it; empty for a plugin given by hand.
        version: The version of the distribution.
        state: ``loaded``, ``blocked`` by the settings, ``incompatible`` with this automate-core, or ``failed``.
        reason: Why, where it is not loaded.
        plugin: The imported module or object, where it is loaded.
    """

    name: str
    distribution: str
    version: str
    state: State
    reason: str = ""
    plugin: Any = None


FAILURES = (Exception, SystemExit)
"""What the code of a plugin may end with without ending the process: one that gives up leaves the others alone."""


def describe(error: BaseException) -> str:
    """Say what a plugin failed with, without secrets, whatever the error does when it is asked.

    Args:
        error: The error.
    """
    return f"{type(error).__name__}: {redact_text(error)[:2000]}"


def load_plugins(
    manager: pluggy.PluginManager, *, blocked: Collection[str] = (), points: Iterable[EntryPoint] | None = None
) -> list[PluginInfo]:
    """Load every plugin of the entry-point group ``automate`` into a plugin manager.

    Args:
        manager: Where the loaded ones are registered.
        blocked: Entry-point names that are not imported.
        points: The entry points; left out, those that are installed.

    Returns:
        Every plugin with its state, by distribution and name. A plugin that cannot be imported, or that implements a
        hook which does not exist, is listed as failed and leaves the others untouched.
    """
    found = entry_points(group=hookspecs.PROJECT_NAME) if points is None else points
    ordered = sorted(found, key=lambda point: (_distribution(point)[0], point.name))
    return [_load(manager, point, blocked) for point in ordered]


def _distribution(point: EntryPoint) -> tuple[str, str, Sequence[str]]:
    dist = point.dist
    return ("", "", ()) if dist is None else (dist.name, dist.version, dist.requires or ())


def _load(manager: pluggy.PluginManager, point: EntryPoint, blocked: Collection[str]) -> PluginInfo:
    name, (distribution, version, requires) = point.name, _distribution(point)

    def info(state: State, reason: str = "", plugin: Any = None) -> PluginInfo:
        return PluginInfo(name, distribution, version, state, reason, plugin)

    if name in blocked:
        return info("blocked", "blocked by PLUGINS.blocked")
    if problem := _incompatible(requires):
        return info("incompatible", problem)
    try:
        plugin = point.load()
        manager.register(plugin, name=f"{distribution}:{name}")
    except FAILURES as error:
        reason = describe(error)
        logger.warning("Plugin %s of %s cannot be loaded: %s", name, distribution, reason)
        return info("failed", reason)
    if misspelt := _unknown_hooks(manager, plugin):
        manager.unregister(plugin)
        return info("failed", f"implements unknown hooks: {', '.join(misspelt)}")
    return info("loaded", plugin=plugin)


def _unknown_hooks(manager: pluggy.PluginManager, plugin: Any) -> list[str]:
    callers = manager.get_hookcallers(plugin) or []
    return [
        caller.name
        for caller in callers
        if not caller.has_spec() and any(not i.optionalhook for i in caller.get_hookimpls() if i.plugin is plugin)
    ]


def _incompatible(requires: Sequence[str]) -> str:
    for text in requires:
        name, specifier = _split_requirement(text)
        if name == "automate-core" and not _satisfies(__version__, specifier):
            return f"needs automate-core{specifier}, installed is {__version__}"
    return ""


def _split_requirement(text: str) -> tuple[str, str]:
    requirement, _, marker = text.partition(";")
    if "extra" in marker:
        return "", ""
    requirement = requirement.replace("(", " ").replace(")", " ").strip()
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), len(requirement))
    specifier = re.sub(r"^\[[^\]]*\]|\s", "", requirement[end:].strip())
    # A direct reference names a file or an address, and no versions.
    return re.sub(r"[-_.]+", "-", requirement[:end]).lower(), "" if specifier.startswith("@") else specifier


def _satisfies(version: str, specifier: str) -> bool:
    """Whether a release satisfies a version specifier (PEP 440, final releases)."""
    return all(_clause(version, clause) for clause in specifier.split(",") if clause)


def _clause(version: str, clause: str) -> bool:
    operator = clause.rstrip("0123456789.*abrcdevpost+!")
    wanted = clause[len(operator) :]
    have = _release(version)
    if wanted.endswith(".*"):
        prefix = _release(wanted[:-2])
        same = (have + (0,) * len(prefix))[: len(prefix)] == prefix
        return same if operator == "==" else not same
    want = _release(wanted)
    length = max(len(have), len(want))
    left, right = (v + (0,) * (length - len(v)) for v in (have, want))
    if operator == "~=":
        return left >= right and left[: len(want) - 1] == want[:-1]
    results = {
        "==": left == right, "===": left == right, "!=": left != right,
        ">=": left >= right, "<=": left <= right, ">": left > right, "<": left < right,
    }  # fmt: skip
    return results.get(operator, False)


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def load_target(target: str, *, requires: str = "", what: str = "") -> Any:
    """Import what a spec points at.

    Args:
        target: ``"package.module:attribute"``.
        requires: The extra to name when an import is missing.
        what: What it is, for the message.

    Returns:
        The attribute.

    Raises:
        PluginLoadError: If it cannot be imported; the message names the command that installs what is missing.
    """
    module_name, _, attribute = target.partition(":")
    try:
        value: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            value = getattr(value, part)
    except ImportError as error:
        remedy = f" Install it: pip install '{requires}'" if requires else ""
        raise PluginLoadError(f"{what or target} needs a module that is missing ({error}).{remedy}") from error
    except FAILURES as error:
        raise PluginLoadError(f"{what or target} cannot be imported: {describe(error)}") from error
    return value
