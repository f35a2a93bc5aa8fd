"""The public names of every package, as they are; ``python tests/acceptance/public_api.py --write`` writes them down.

A public module is a package, a module directly in it, or one of the deeper ones that users import by name. What only
makes sense to Django (models, admin, apps, migrations, commands) is not imported by name, but for the models.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

LISTED = Path(__file__).with_name("public_api.txt")
PACKAGES = (
    "automate", "automate_connectors", "automate_core", "automate_llm", "automate_outbox", "automate_rag",
    "automate_secrets", "rag",
)  # fmt: skip
OPEN = {"automate_core.outbox", "automate_core.testing"}
"""Packages whose modules are imported by name, too."""

OF_DJANGO = {"admin", "apps", "management", "migrations", "models"}
SDKS = {"anthropic", "boto3", "hvac", "openai", "sentence_transformers", "tiktoken", "torch"}


def modules() -> list[str]:
    """Return the names of the public modules; only packages are imported for it."""
    return sorted(name for package in PACKAGES for name in (package, *_within(package)))


def _within(package: str) -> Iterator[str]:
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        name = module.name.rpartition(".")[2]
        if not name.startswith("_") and name not in OF_DJANGO:
            yield module.name
            if module.name in OPEN:
                yield from _within(module.name)


def forget() -> None:
    """Let the next import begin as in a fresh process, third parties aside: they come first only once."""
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]


def imported(documented: dict[str, list[str]]) -> dict[str, str]:
    """Execute import statements, and import every public module, and return what is wrong with which.

    Args:
        documented: The statements by module; each module begins from the start.
    """
    wrong: dict[str, str] = {}
    for statements in documented.values():
        forget()
        for statement in statements:
            _try(statement, wrong)
    for module in modules():
        _try(f"import {module}", wrong)
    return wrong


def _try(statement: str, wrong: dict[str, str]) -> None:
    try:
        exec(statement, {})
    except Exception as error:
        wrong[statement] = f"{type(error).__name__}: {error}"
    heavy = SDKS & {name.partition(".")[0] for name in sys.modules}
    if heavy:
        wrong[statement] = f"{', '.join(sorted(heavy))} imported"


def listing() -> list[str]:
    """Return every public name, as ``module: name``."""
    return [
        f"{module}: {name}"
        for module in modules()
        for name in sorted(getattr(importlib.import_module(module), "__all__", []))
    ]


if __name__ == "__main__":
    if "--write" in sys.argv:
        LISTED.write_text("".join(f"{line}\n" for line in listing()))
    else:
        found = imported(json.load(sys.stdin))
        json.dump({"wrong": found, "names": listing()}, sys.stdout)
