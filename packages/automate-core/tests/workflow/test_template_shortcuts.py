"""What is prepared, or done at once where it can be, gives what the long way gives: errors and budgets included."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from automate_core.errors import AutomateError, TemplateError
from automate_core.payload import json_pointer
from automate_core.workflow import _template_nodes as template_nodes
from automate_core.workflow import _template_work as template_work
from automate_core.workflow import compile_template, find_secret_refs, render
from automate_core.workflow._template_work import Undefined, Work, check_scalar, copy
from automate_core.workflow.templates import ValueTemplate, _as_text, is_template
from hypothesis import given, settings
from hypothesis import strategies as st


class Object(dict[str, Any]):
    """As artifacts have them: an object whose type says more."""


class Text(str):
    __slots__ = ()


names = st.sampled_from(["a", "b", "c", "long name"])
leaves = st.one_of(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.builds(Text, st.text(max_size=3)),
    st.sampled_from([10**400, "é\ud800", object, {1}]),
)
data = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(names, inner, max_size=4),
        st.builds(Object, st.dictionaries(names, inner, max_size=4)),
    ),
    max_leaves=12,
)
FULL: dict[str, Any] = {"a": "x", "b": 1, "c": None, "long name": [2]}
for _ in range(3):
    FULL = dict.fromkeys(FULL, FULL)
contexts = st.fixed_dictionaries({"a": data | st.just(FULL), "b": data})
paths = st.builds(
    lambda root, parts: root + "".join(parts),
    st.sampled_from(["a", "b", "nowhere"]),
    st.lists(st.sampled_from([".a", ".b", "['c']", "['long name']", "[0]", "[-1]", "[true]", "[b.a]"]), max_size=4),
)
expressions = st.one_of(
    paths,
    st.builds("{} | {}".format, paths, st.sampled_from(["default('x')", "default(b, true)", "lower", "tojson"])),
    st.builds("{} {} {}".format, paths, st.sampled_from(["==", "in", "and", "<"]), paths),
    st.builds("{} if {} is defined else {}".format, paths, paths, paths),
    st.sampled_from(["1 + 1", "a |", "'text'"]),
)
templates = st.one_of(
    st.builds("{{{{ {} }}}}".format, expressions),
    st.builds("é{{{{ {} }}}}-{{{{ {} }}}}".format, expressions, expressions),
    st.sampled_from(["$secret:A", "$env:B", "$secret:{{ a }}", "$x{{ a }}", "plain", "{# c #}"]),
    st.sampled_from(["é $secret:A, $env:B", "{{ a.b }} $secret:A {{ a }}"]),
)
values = st.recursive(
    templates | leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(names | st.integers(), inner, max_size=3),
    ),
    max_leaves=6,
)
budgets = st.tuples(st.integers(0, 60) | st.just(10_000), st.integers(0, 30) | st.just(500_000))


def outcome(act: Callable[[Work], Any], budget: tuple[int, int]) -> tuple[str, Any, Any]:
    """Return what came out, with what was left of the budget, or what went wrong."""
    with patch.object(template_work, "MAX_WORK", budget[1]):
        work = Work(budget[0])
        try:
            made = act(work)
        except AutomateError as error:
            return type(error).__name__, error.message, error.context
        except ValueError as error:
            return type(error).__name__, str(error), None
    if isinstance(made, Undefined):
        return "undefined", made.path, made.hint
    return "value", written(made), (work._left, work._copies_left, work._size_left)


def written(value: Any) -> Any:
    """Return a value as what tells 1 from true, NaN from nothing, and one order of keys from another."""
    if isinstance(value, dict):
        return type(value), [(written(key), written(child)) for key, child in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [written(child) for child in value]
    return type(value), repr(value)


@settings(max_examples=200, deadline=None)
@given(expressions.map("{{{{ {} }}}}".format) | templates, contexts, budgets)
def test_a_path_that_is_followed_at_once_leads_where_its_steps_lead(text: Any, context: Any, budget: Any) -> None:
    compile_anew = compile_template.__wrapped__
    with patch.object(template_nodes, "_follow", lambda node, evaluate: evaluate):
        slow = outcome(lambda work: compile_anew(text).evaluate(context, work), budget)
    assert outcome(lambda work: compile_anew(text).evaluate(context, work), budget) == slow


@settings(max_examples=200, deadline=None)
@given(data | st.builds(Undefined, st.just("a.b")), budgets)
def test_a_copy_costs_what_its_parts_cost(value: Any, budget: Any) -> None:
    def by_parts(work: Work, value: Any) -> Any:
        work._copies_left -= 1
        if work._copies_left < 0:
            work._refuse_work()
        work.take(2)
        if isinstance(value, dict):
            return {by_parts(work, key): by_parts(work, child) for key, child in value.items()}
        if isinstance(value, (list, tuple)):
            return [by_parts(work, child) for child in value]
        check_scalar(value)
        if isinstance(value, str):
            work.take(len(value.encode("utf-8", "surrogatepass")))
            return str.__str__(value)
        return value

    assert outcome(lambda work: copy(work, value), budget) == outcome(lambda work: by_parts(work, value), budget)


class Resolver:
    """Notes what it is asked, and refuses the second time."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, reference: str) -> str:
        self.asked.append(reference)
        if len(self.asked) > 1:
            raise ValueError("no more")
        return reference.lower()


def join(template: Any, context: Any, work: Work, resolve_ref: Any) -> str:
    """Render a text with references in it, one piece after the other."""
    joined = []
    for part in template._parts:
        made = part if isinstance(part, str) else _as_text(part(context, work), work)
        for piece in filter(None, re.split(r"(\$\w+:\w+)", made) if made is part else [made]):
            piece = resolve_ref(piece) if resolve_ref and piece.startswith("$") and made is part else piece
            work.take(len(piece.encode()))
            joined.append(piece)
    return "".join(joined)


def walk(value: Any, path: Any, context: Any, work: Work, resolve_ref: Any) -> Any:
    """Render a value as it is read, with nothing prepared."""
    if isinstance(value, dict):
        work.take(2)
        return {copy(work, key): walk(child, (*path, key), context, work, resolve_ref) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        work.take(2)
        return [walk(child, (*path, index), context, work, resolve_ref) for index, child in enumerate(value)]
    if not isinstance(value, str) or (not is_template(value) and not re.search(r".\$secret:", value)):
        literal = copy(work, value)
        return resolve_ref(literal) if resolve_ref is not None and find_secret_refs(literal) else literal
    try:
        if value.startswith("$secret:"):
            raise TemplateError("A secret reference is written out whole, without a template.")
        template = compile_template(value)
        return join(template, context, work, resolve_ref) if "$secret:" in value else template.evaluate(context, work)
    except TemplateError as error:
        pointer = json_pointer(path)
        raise TemplateError(
            f"{pointer or '/'}: {error.message}", context={**error.context, "pointer": pointer}
        ) from None


@settings(max_examples=200, deadline=None)
@given(values, contexts, budgets, st.booleans())
def test_a_prepared_value_gives_what_reading_it_gives(value: Any, context: Any, budget: Any, resolves: bool) -> None:
    prepared = ValueTemplate(value)
    ways: list[Callable[[Work, Any], Any]] = [
        lambda work, resolve_ref: walk(value, (), context, work, resolve_ref),
        lambda work, resolve_ref: render(value, context, max_bytes=budget[0], resolve_ref=resolve_ref),
        lambda work, resolve_ref: prepared.render(context, max_bytes=budget[0], resolve_ref=resolve_ref),
        lambda work, resolve_ref: prepared.render(context, max_bytes=budget[0], resolve_ref=resolve_ref),
    ]
    found = []
    for way in ways:
        resolver = Resolver() if resolves else None
        kind, made, more = outcome(lambda work: way(work, resolver), budget)  # noqa: B023 - called at once
        found.append((kind, made, None if kind == "value" else more, resolver and resolver.asked))
    assert found == [found[0]] * len(ways)
    assert prepared.has_secrets == bool(find_secret_refs(value))
