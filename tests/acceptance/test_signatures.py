"""Every documented signature is the real one: names, order, kinds and defaults, and types that fit."""

from __future__ import annotations

import importlib
import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from automate.rules import CompiledRule
from automate_core.connectors import ActionSpec
from automate_core.llm import LLMProvider

from acceptance import documents
from acceptance.documents import Stub

STUBS = documents.stubs()
MODULES = {"emit_event": "automate.events", "evaluate": "automate.rules"}
"""Where the functions are that the documents declare without saying it."""

ANY = (Any, Parameter.empty)


def documented(stub: Stub) -> Callable[..., Any]:
    names = {"Any": Any, "ActionSpec": ActionSpec, "CompiledRule": CompiledRule, "LLMProvider": LLMProvider}
    exec(compile(stub.source, stub.document, "exec", dont_inherit=True), names)
    return names[stub.name]


def real(stub: Stub) -> Callable[..., Any]:
    owner = importlib.import_module(stub.module or MODULES[stub.name])
    if stub.owner:
        # From the dictionary of the class, so that self and cls are seen.
        method = vars(getattr(owner, stub.owner))[stub.name]
        return getattr(method, "__func__", method)  # type: ignore[no-any-return]  # a method's function
    return getattr(owner, stub.name)  # type: ignore[no-any-return]  # a function of the module


def fits(value: Any, target: Any) -> bool:
    """Whether every value of one type is one of another, as far as the types say it."""
    if target in ANY:
        return True
    if value in ANY:
        return False
    if get_origin(value) in (Union, types.UnionType):
        return all(fits(one, target) for one in get_args(value))
    if get_origin(target) in (Union, types.UnionType):
        return any(fits(value, one) for one in get_args(target))
    if not issubclass(get_origin(value) or value, get_origin(target) or target):
        return False
    # What a document leaves open, as "dict" does, may be anything.
    return all(one in ANY or fits(one, other) for one, other in zip(get_args(value), get_args(target), strict=False))


def differences(said: Callable[..., Any], found: Callable[..., Any]) -> list[str]:
    """Return what keeps a call in the documented form from being one of the real function."""
    expected, actual = inspect.signature(said).parameters, inspect.signature(found).parameters
    said_types, real_types = get_type_hints(said), get_type_hints(found)
    problems = []
    positional = [name for name, parameter in expected.items() if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD]
    if list(actual)[: len(positional)] != positional:
        problems.append(f"{list(actual)} does not begin with {positional}")
    for name, parameter in expected.items():
        if name not in actual or actual[name].kind is not parameter.kind:
            problems.append(f"{name}: missing, or of another kind")
        elif actual[name].default != parameter.default:
            problems.append(f"{name}: default {actual[name].default!r}, not {parameter.default!r}")
        elif not fits(_given(said_types.get(name, Any), parameter), real_types.get(name, Any)):
            problems.append(f"{name}: {real_types[name]} does not take {said_types[name]}")
    for name in actual.keys() - expected.keys():
        if actual[name].default is Parameter.empty and actual[name].kind is not Parameter.VAR_KEYWORD:
            problems.append(f"{name}: is required, and not documented")
    if not fits(real_types.get("return", Any), said_types.get("return", Any)):
        problems.append(f"returns {real_types.get('return')}, not {said_types['return']}")
    return problems


def _given(kind: Any, parameter: Parameter) -> Any:
    """``text: str = None`` is meant to take None."""
    return kind | None if parameter.default is None and kind is not Any else kind


def test_no_signature_is_lost() -> None:
    assert [stub.name for stub in STUBS] == [
        *("run_execution", "emit_event", "run_workflow", "evaluate", "compile_rule", "resolve", "chat"),
        *("count_tokens", "get_provider", "query", "index_documents"),  # headings
        *("emit_event", "evaluate"),  # Type Annotations
        *("actions", "execute_action", "normalize_error"),  # MyConnector
        *("emit_event", "run_workflow", "evaluate", "explain", "resolve", "redact"),  # the configuration document
    ]
    assert documents.CONFIGURATION.read_text().count("def ") == 6


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: f"{stub.document[:3]}-{stub.name}")
def test_a_signature_is_as_documented(stub: Stub) -> None:
    said, found = documented(stub), real(stub)
    if stub.owner == "Connector":
        # The document overrides it: types fit in the other direction, and the base class only calls it.
        assert inspect.signature(said).parameters.keys() == inspect.signature(found).parameters.keys()
        assert fits(get_type_hints(said)["return"], get_type_hints(found)["return"])
        return
    if stub.owner:
        assert next(iter(inspect.signature(found).parameters)) == "self"
        found = getattr(getattr(importlib.import_module(stub.module), stub.owner)(), stub.name)
    assert differences(said, found) == []


@pytest.mark.parametrize(("function", "parameter", "meaning"), documents.described_parameters())
def test_a_described_parameter_exists_with_its_default(function: str, parameter: str, meaning: str) -> None:
    stub = next(stub for stub in STUBS if stub.name == function)
    found = inspect.signature(real(stub)).parameters[parameter]
    if default := re.search(r"\(default: (\w+)\)", meaning):
        assert str(found.default) == default[1]
    if meaning.startswith("Optional"):
        assert found.default is None


def test_every_parameter_is_described() -> None:
    assert len(documents.described_parameters()) == 21


def _wrong(payload: Mapping[str, int], type: str, dedupe_key: str = "", *, tenant: int) -> Sequence[str]:
    return []


def test_a_difference_is_seen() -> None:
    said = documented(next(stub for stub in STUBS if stub.name == "emit_event"))
    assert differences(said, _wrong) == [
        "['payload', 'type', 'dedupe_key', 'tenant'] does not begin with ['type', 'payload', 'dedupe_key']",
        "dedupe_key: default '', not None",
        "tenant: is required, and not documented",
        "returns collections.abc.Sequence[str], not <class 'str'>",
    ]


@pytest.mark.parametrize(
    ("value", "target", "result"),
    [
        (dict, Mapping[str, Any], True),
        (list[dict[str, Any]], list[dict], True),  # type: ignore[type-arg]  # as the documents write it
        (list[dict], Sequence[Mapping[str, Any]], True),  # type: ignore[type-arg]  # likewise
        (str, str | None, True),
        (str | None, str, False),
        (Sequence[str], list[str], False),
        (list[str], list[int], False),
        (Any, str, False),
    ],
)
def test_types_fit_in_one_direction(value: Any, target: Any, result: bool) -> None:
    assert fits(value, target) is result
