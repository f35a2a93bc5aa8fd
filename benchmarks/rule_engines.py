"""The engines that are compared: each takes a rule and gives what evaluates it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import distributions, packages_distributions, version
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any, NamedTuple

from automate_core.rules import compile_rule
from environment import folder_of
from measuring import say

Evaluate = Callable[[Any], Any]


class Engine(NamedTuple):
    """One engine.

    Args:
        compile: Takes a rule and gives what evaluates it.
        prepare: Takes an event and gives what the rule is evaluated on; what that costs is not measured.
    """

    compile: Callable[[Any], Evaluate]
    prepare: Callable[[Any], Any] = lambda event: event


OURS, QUBIT, PANZI, DATALOGIC = "automate", "json-logic-qubit", "panzi-json-logic", "datalogic-py"
PARSED = f"{DATALOGIC}, data parsed before"


def expect_owner(module: str, distribution: str) -> None:
    """Fail unless a module belongs to a distribution: six of them install ``json_logic``, over one another.

    Args:
        module: The module.
        distribution: The distribution.
    """
    owners = packages_distributions().get(module, [])
    if owners != [distribution]:
        raise RuntimeError(f"the module {module} belongs to {owners or 'nothing'}, not to {distribution}")


def _apart(distribution: str, module: str) -> ModuleType:
    """Import a module from the folder of a distribution of its own, under a name of its own."""
    folder = folder_of(distribution)
    if [found.metadata["Name"] for found in distributions(path=[str(folder)])] != [distribution]:
        raise RuntimeError(f"{folder} does not hold {distribution} alone")
    name = distribution.replace("-", "_")
    spec = spec_from_file_location(
        name, folder / module / "__init__.py", submodule_search_locations=[str(folder / module)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def _qubit() -> dict[str, Engine]:
    expect_owner("json_logic", QUBIT)
    import json_logic

    return {QUBIT: Engine(lambda rule: partial(json_logic.jsonLogic, rule))}


def _panzi() -> dict[str, Engine]:
    apply = _apart(PANZI, "json_logic").jsonLogic
    return {PANZI: Engine(lambda rule: partial(apply, rule))}


def _datalogic() -> dict[str, Engine]:
    expect_owner("datalogic_py", DATALOGIC)
    import datalogic_py

    compiled = datalogic_py.Engine().compile
    return {
        DATALOGIC: Engine(lambda rule: compiled(rule).evaluate),
        PARSED: Engine(lambda rule: compiled(rule).evaluate_data, datalogic_py.DataHandle),
    }


OUR_ENGINE = Engine(lambda rule: compile_rule(rule).evaluate)
"""Ours."""


def peers() -> Iterator[tuple[str, Engine]]:
    """Yield the other engines that can be had here, by name."""
    for load, name in ((_qubit, QUBIT), (_panzi, PANZI), (_datalogic, DATALOGIC)):
        try:
            found = load()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a peer, the others are measured
            say(f"SKIPPED: {name}: {error}")
        else:
            yield from found.items()


def versions() -> dict[str, str]:
    """Return the releases that are compared."""
    found = {name: version(name) for name in (QUBIT, DATALOGIC)}
    apart = next(iter(distributions(path=[str(folder_of(PANZI))])), None)
    return {**found, PANZI: apart.version if apart else "-"}
