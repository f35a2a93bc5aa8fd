"""Every import line works as it stands, costs no SDK, and the public names are those that are written down."""

from __future__ import annotations

import difflib
import importlib
import json
import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from acceptance import documents, public_api

LINES = documents.import_lines()
OF_MODELS = {"from automate.models import Execution"}
"""Models exist only once Django is set up."""


@pytest.fixture(scope="module")
def fresh() -> dict[str, Any]:
    """What a process without Django's settings sees, where any warning is an error."""
    by_module: dict[str, list[str]] = {package: [f"import {package}"] for package in public_api.PACKAGES}
    for line in LINES:
        if line not in OF_MODELS:
            by_module.setdefault(line.split()[1], []).append(line)
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-W", "error", public_api.__file__],
        input=json.dumps(by_module), env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_import_line_is_lost() -> None:
    text = documents.API.read_text() + documents.CONFIGURATION.read_text()
    assert sum(text.count(line.partition(" import ")[0] + " import") for line in {*LINES}) >= text.count("from ")
    assert len(LINES) == 30
    assert text.count("**Import:**") == 8


@pytest.mark.parametrize("line", LINES)
def test_every_import_line_works_in_a_project(line: str) -> None:
    names: dict[str, Any] = {}
    exec(line, names)
    assert {name.strip() for name in line.partition(" import ")[2].split(",")} <= set(names)


def test_every_import_works_before_django_and_without_an_sdk(fresh: dict[str, Any]) -> None:
    assert fresh["wrong"] == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("automate.events:emit_event", "automate.runtime:emit_event"),
        ("automate.events:run_workflow", "automate.runtime:run_workflow"),
        ("automate_connectors:registry", "automate_connectors.registry:registry"),
        ("automate_connectors:Connector", "automate_connectors.base:Connector"),
        ("automate_core.outbox:OutboxReaper", "automate_core.outbox.reaper:OutboxReaper"),
        ("rag:query", "automate_rag:query"),
        ("rag:index_documents", "automate_rag:index_documents"),
    ],
)
def test_two_import_paths_lead_to_one_object(one: str, other: str) -> None:
    first, second = (getattr(importlib.import_module(m), n) for m, n in (p.split(":") for p in (one, other)))
    assert first is second


def test_the_public_names_are_the_listed_ones(fresh: dict[str, Any]) -> None:
    listed = public_api.LISTED.read_text().splitlines()
    difference = difflib.unified_diff(listed, fresh["names"], "public_api.txt", "the packages", lineterm="", n=0)
    changed = "\n".join(difference)
    assert not changed, f"{changed}\nIf that is meant: python {public_api.__file__} --write"
    assert len(listed) == len(set(listed))


def test_every_public_name_exists() -> None:
    names = [line.split(": ") for line in public_api.LISTED.read_text().splitlines()]
    assert [f"{m}.{n}" for m, n in names if not hasattr(importlib.import_module(m), n)] == []


def test_a_module_that_binds_names_says_which_are_public() -> None:
    modules = [importlib.import_module(name) for name in public_api.modules()]
    unsaid = [module for module in modules if not hasattr(module, "__all__")]
    own = {m.__name__: [n for n, v in vars(m).items() if n[0] != "_" and type(v) is not ModuleType] for m in unsaid}
    assert {name: names for name, names in own.items() if names} == {}
