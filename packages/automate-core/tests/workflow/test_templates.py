from __future__ import annotations

import contextlib
import copy
import json
import string
import tracemalloc
from typing import Any

import jinja2.sandbox
import pytest
from automate_core.errors import TemplateError
from automate_core.secrets import SecretValue
from automate_core.workflow.templates import compile_template, find_references, find_secret_refs, render
from hypothesis import given, settings
from hypothesis import strategies as st

PAYLOAD: dict[str, Any] = {
    "order": "A-1",
    "amount": 99.5,
    "count": 3,
    "paid": True,
    "note": None,
    "lines": [{"name": "tea", "price": 2}, {"name": "Cup", "price": 10}],
    "items": "a key that is a method of dict too",
    "a-b": {"c": [1, 2]},
}
CONTEXT = {"event": {"payload": PAYLOAD}, "steps": {"one": {"output": {"id": 7}, "status": "SUCCESS", "error": None}}}


def run(text: Any, context: Any = CONTEXT, **options: Any) -> Any:
    return compile_template(text).render(context, **options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain { text } with $ and #", "plain { text } with $ and #"),
        ("{{ event.payload.count }}", 3),
        ("{{ event.payload.paid }}", True),
        ("{{ event.payload.note }}", None),
        ("{{ event.payload.lines }}", PAYLOAD["lines"]),
        (" {{ event.payload.count }}", " 3"),
        ("{{ event.payload.count }}{{ event.payload.count }}", "33"),
        ("[{{ event.payload.note }}|{{ event.payload.paid }}|{{ event.payload.amount }}]", "[|true|99.5]"),
        ("{{ event.payload['a-b'] }}!", '{"c": [1, 2]}!'),
        ("{{ event.payload.items }}", "a key that is a method of dict too"),
        ("{{ event.payload.lines[-1].name }}", "Cup"),
        ("{{ event.payload.lines[steps.one.output.id - 6] }}", TemplateError),
        ("{{ event.payload.lines[event.payload.count] is defined }}", False),
        ("{{ event.payload.lines.0.price }}", 2),
        ("{{ event.payload.nothing.at.all | default(event.payload.order) }}", "A-1"),
        ("{{ event.payload.x | default(event.payload.y) | default('z') }}", "z"),
        ("{{ event.payload.note | default('none', true) }}", "none"),
        ("{{ event.payload.lines | join(', ', attribute='name') }}", "tea, Cup"),
        ("{{ event.payload.lines | sort(attribute='price', reverse=true) | first }}", PAYLOAD["lines"][1]),
        ("{{ ['b', 'B', 'a'] | unique | sort | join }}", "ab"),
        ("{{ 'big' if event.payload.amount > 50 and not event.payload.note else 'small' }}", "big"),
        ("{{ event.payload.count in [1, 2, 3] and 'tea' not in event.payload }}", True),
        ("{{ 1 == true }}", False),
        ("{{ [1] == [1.0] }}", True),
        ("{{ event is mapping and event.payload.lines is sequence and event.payload.order is not number }}", True),
        ("{{ ' 42 ' | int }}", 42),
        ("{{ 'x' | int(0) }}", 0),
        ("{{ '1e3' | float }}", 1000.0),
        ("{{ -1.55 | round(1) }}", -1.6),
        ("{{ 2.5 | round(0, 'ceil') | int }}", 3),
        ("{{ {'a': 1} }}", TemplateError),
        ("{{ event.payload.lines | tojson }}", json.dumps(PAYLOAD["lines"])),
        ("a\r\n{# note #}{{ event.payload.order }}\n", "a\nA-1\n"),
        ("{% raw %}{{ event }}{% endraw %} {{ event.payload.order }}", "{{ event }} A-1"),
    ],
)
def test_what_a_template_gives(text: Any, expected: Any) -> None:
    if expected is TemplateError:
        with pytest.raises(TemplateError):
            run(text)
    else:
        result = run(text)
        assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ event.payload.ordr }}", "event.payload.ordr is not defined. Did you mean 'order'?"),
        ("Hi {{ event.payload['amont'] }}", "event.payload['amont'] is not defined. Did you mean 'amount'"),
        ("{{ evnt }}", "evnt is not defined. Did you mean 'event'?"),
        ("{{ event.payload.lines[7].name }}", "event.payload.lines[7] is not defined"),
        ("{{ event.payload.order.upper }}", "event.payload.order.upper is not defined"),
        ("{{ missing or 'x' }}", "missing is not defined"),
        ("{{ not missing }}", "missing is not defined"),
        ("{{ [missing] }}", "missing is not defined"),
        ("{{ missing == 1 }}", "missing is not defined"),
        ("{{ missing is string }}", "missing is not defined"),
        ("{{ missing | upper }}", "missing is not defined"),
        ("{{ [] | first }}", "the first item of an empty list is not defined"),
        ("{{ event.payload | upper }}", "needs text, not an object"),
        ("{{ event.payload.note | upper }}", "needs text, not null"),
        ("{{ 1 < 'a' }}", "have no order"),
        ("{{ true < 2 }}", "have no order"),
        ("{{ ['a', 1] | sort }}", "a list of numbers, or one of texts"),
        ("{{ 'x' | int }}", "give it a default"),
        ("{{ event.payload.lines | join }}", None),
    ],
)
def test_what_fails_when_it_runs_names_the_path(text: Any, says: Any) -> None:
    if says is None:
        assert run(text).startswith('{"name"')
        return
    with pytest.raises(TemplateError) as caught:
        run(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ event.payload.keys() }}", "no calls"),
        ("{{ ''.join(['a']) }}", "no calls"),
        ("{{ range(10) }}", "no calls"),
        ("{{ 1 + 1 }}", "no arithmetic"),
        ("{{ 9 ** 9 }}", "no arithmetic"),
        ("{{ 'a' * 3 }}", "no arithmetic"),
        ("{{ -event }}", "no arithmetic"),
        ("{{ event ~ 'x' }}", "side by side"),
        ("{{ event[1:2] }}", "no slices"),
        ("{{ {'a': 1} }}", "no objects"),
        ("{{ 1, 2 }}", "no tuples"),
        ("{{ 'a' if event }}", "needs its 'else'"),
        ("{% for x in event %}{% endfor %}", "no statements"),
        ("{% set x = 1 %}", "no statements"),
        ("{% if event %}{% endif %}", "no statements"),
        ("{% include 'x' %}", "no statements"),
        ("{% macro f() %}{% endmacro %}", "no statements"),
        ("{% filter upper %}a{% endfilter %}", "no statements"),
        ("{{ event | attr('x') }}", "There is no filter 'attr'"),
        ("{{ event | pprint }}", "There is no filter 'pprint'"),
        ("{{ event | uper }}", "Did you mean 'upper'?"),
        ("{{ event | upper(1) }}", "does not take these arguments"),
        ("{{ event | default(*[1]) }}", "no blocks and no '*'"),
        ("{{ event is callable }}", "There is no test 'callable'"),
        ("{{ 3 is divisibleby 3 }}", "takes no arguments"),
        ("{{ 1e999 }}", "infinite"),
        ("{{ " + "9" * 301 + " }}", "too large"),
        ("{{ " + "9" * 5000 + " }}", "cannot be parsed"),
        (r"{{ '\ud800' }}", "surrogate"),
        (r"{{ '\x00' }}", "NUL"),
        ("{{ event", "cannot be parsed"),
        ("{{ }}", "cannot be parsed"),
        ("{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}", "nested too deeply"),
        ("{{ " + "not " * 8000 + "1 }}", "nested too deeply"),
        ("{{ a" + ".b" * 100 + " }}", "too complex"),
        ("{{ a" + " | upper" * 100 + " }}", "too complex"),
        ("{{ a }}" * 3000, "too complex"),
        ("{{ a }}" + "x" * 40_000, "longer than 32768 characters"),
    ],
)
def test_what_is_no_part_of_the_language_is_refused_when_compiled(text: Any, says: Any) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(text)
    assert says in str(caught.value)


# -- harm -----------------------------------------------------------------------------------------------------------

BIG = "x" * 200_000
HARM = {"event": {"payload": {"big": BIG, "list": list(range(50_000)), "texts": ["ab"] * 40_000, "deep": []}}}
for _ in range(5000):
    HARM["event"]["payload"]["deep"] = [HARM["event"]["payload"]["deep"]]
ATTACKS = [
    "{{ event.payload.big | replace('x', event.payload.big) }}",
    "{{ event.payload.big | replace('', event.payload.big) }}",
    "{{ event.payload.big | replace('x', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') }}",
    "{{ event.payload.texts | join(event.payload.big) }}",
    "{{ 1.5 | round(1000000000) }}",
    "{{ 1.5 | round(-1000000000) }}",
    "{{ 'a' | truncate(10000000000) }}",
    "{{ 'a' | truncate(5, end=event.payload.big) }}",
    "{{ 'a' | trim(event.payload.big) }}",
    "{{ event.payload.deep }}",
    "{{ event.payload.deep | tojson }}",
    "{{ event.payload.deep == event.payload.deep }}",
    "{{ [event.payload.deep] | unique }}",
    "{{ " + " == ".join(["event.payload.list"] * 200) + " }}",
    "{{ " + "event.payload.list in [" * 20 + "1" + "]" * 20 + " }}",
    "{{ [" + ",".join(["event.payload.big | upper"] * 400) + "] | length }}",
    "{{ [" + ",".join(["event.payload.list | sort"] * 400) + "] | length }}",
    "{{ [" + ",".join(["event.payload.texts | unique"] * 400) + "] | length }}",
    "{{ [" + ",".join(["event.payload"] * 400) + "] }}",
    "{{ [" + ",".join(["event.payload.list"] * 400) + "] | tojson }}",
    "{{ event.payload.big }}" * 100,
    "{{ event.payload.big | upper | lower }}" * 300,
]


@pytest.mark.parametrize("text", ATTACKS, ids=range(len(ATTACKS)))
def test_an_attack_on_resources_ends_in_an_error_and_in_little_memory(text: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TemplateError):
            run(text, HARM)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_the_result_is_bounded_over_all_parameters() -> None:
    params = {str(index): "{{ event.payload.big }}" for index in range(5)}
    assert len(render(params, HARM)["4"]) == len(BIG)
    with pytest.raises(TemplateError, match="larger than 1048576 bytes"):
        render(params | {"5": "{{ event.payload.big }}"}, HARM)
    with pytest.raises(TemplateError, match="larger than 10 bytes"):
        render({"a": "{{ event.payload.big }}"}, HARM, max_bytes=10)


@pytest.mark.parametrize(
    "value",
    ["ä" * 5_000_000, [{"id": number, "name": f"n{number}"} for number in range(300_000)]],
    ids=["text", "rows"],
)
def test_a_value_as_large_as_the_result_may_be_is_handed_on(value: Any) -> None:
    context = {"event": {"payload": value}}
    assert render({"a": "{{ event.payload }}"}, context, max_bytes=10 * 2**20 + 100) == {"a": value}
    with pytest.raises(TemplateError, match=r"larger than|too much work"):
        render({"a": "{{ event.payload }}"}, context)


class Model:
    name = "a model"

    def delete(self) -> None:
        raise AssertionError("called")


class Sly(dict[str, Any]):
    def __getitem__(self, key: Any) -> Any:
        raise AssertionError("called")

    def __contains__(self, key: Any) -> bool:
        raise AssertionError("called")


@pytest.mark.parametrize(
    "text",
    ["{{ m.name }}", "{{ m.delete }}", "{{ m }}", "x{{ m }}", "{{ m | string }}", "{{ m == 1 }}", "{{ m.__class__ }}"],
)
def test_objects_of_python_are_opaque(text: Any) -> None:
    with pytest.raises(TemplateError):
        run(text, {"m": Model()})
    assert run("{{ s.a }}", {"s": Sly(a=1)}) == 1


@pytest.mark.parametrize("name", ["__class__", "__init__", "__globals__", "mro", "_private", "format", "f_back"])
def test_attributes_of_python_do_not_exist(name: Any) -> None:
    for start in ("event", "event.payload.order", "event.payload.lines", "event.payload.count", "''", "[]"):
        for text in (f"{{{{ ({start}).{name} }}}}", f"{{{{ ({start})['{name}'] }}}}"):
            with pytest.raises(TemplateError, match="is not defined"):
                run(text)


# -- against Jinja2 -------------------------------------------------------------------------------------------------

JINJA = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined)
words = st.text(string.ascii_letters + " -'.,é", max_size=30)
data = st.fixed_dictionaries(
    {"s": words, "t": words, "n": st.integers(-999, 999), "f": st.floats(-99, 99).map(lambda x: round(x, 3))}
    | {"l": st.lists(words, min_size=1, max_size=5), "m": st.lists(st.integers(-9, 9), min_size=1, max_size=5)}
)
text_filters = st.sampled_from(
    [
        *("upper", "lower", "capitalize", "trim", "title", "string", "default('x')", "trim('a')"),
        *("replace('a', 'bc')", "replace('', '-')", "replace('e', '', 1)", "truncate(9)", "truncate(9, true, '', 0)"),
    ]
)
text_values = st.builds(
    lambda start, filters: " | ".join([start, *filters]),
    st.sampled_from(["s", "t", "l[0]", "l | join('; ')", "l | sort | first", "l | sort(case_sensitive=true) | last"]),
    st.lists(text_filters, max_size=3),
)
numbers = st.sampled_from(["n", "f", "m[-1]", "m | sort | first", "f | round(1)", "f | int", "s | length", "n | float"])
conditions = st.one_of(
    st.tuples(numbers, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), numbers),
    st.tuples(text_values, st.sampled_from(["<", "==", "in", "not in"]), text_values),
    st.tuples(numbers, st.sampled_from(["in", "not in"]), st.just("m")),
).map(lambda parts: "({}) {} ({})".format(*parts))
expressions = st.one_of(
    text_values,
    numbers,
    st.builds("({}) if {} else ({})".format, text_values, conditions, text_values),
    st.builds("s if {} and not ({}) or ({}) else t".format, conditions, conditions, conditions),
    st.just("m | unique | sort(reverse=true) | join(',')"),
    st.just("l | unique | join('|')"),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(expressions, min_size=1, max_size=2), data)
def test_what_jinja2_has_too_means_the_same(parts: Any, context: Any) -> None:
    text = "-".join(["", *(f"{{{{ {part} }}}}" for part in parts)])
    assert run(text, context) == JINJA.from_string(text).render(context)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([*"{}%#|.()[]'\"abc019 -+*~=<>_!,:\\\n", "{{", "}}", "if", "else", "not", "in"])))
def test_any_text_either_compiles_or_is_a_template_error(pieces: Any) -> None:
    with contextlib.suppress(TemplateError):
        run("{{ " + "".join(pieces), {"a": {"b": [1]}})


# -- references and secrets -----------------------------------------------------------------------------------------


def test_references_are_found_as_far_as_they_are_written_out() -> None:
    template = compile_template(
        "{{ event }} {{ event.payload.a['b'][0] | default(steps.one.output) }} {{ steps[event.payload.which].output }}"
    )
    assert template.references == {
        ("event",),
        ("event", "payload", "a", "b", 0),
        ("steps", "one", "output"),
        ("steps",),
        ("event", "payload", "which"),
    }
    assert find_references({"x": ["{{ a.b }}", "plain", 1]}) == [("/x/0", ("a", "b"))]


PARAMS = {
    "key": "$secret:API_KEY",
    "from_event": "{{ event.payload.evil }}",
    "embedded": "Bearer $secret:API_KEY",
    "both": "{{ event.payload.evil }} $secret:API_KEY, $vault:kv/a#b@3; {{ event.payload.evil }}",
    "prose": "write $secret: or $env: {{ event.payload.evil }}",
    "nested": [{"env": "$env:TOKEN"}],
}
EVIL = {"event": {"payload": {"evil": "$secret:ROOT"}}}


def test_references_to_secrets_are_taken_from_the_definition_alone() -> None:
    before = copy.deepcopy(PARAMS)
    asked = []

    def resolve(reference: Any) -> Any:
        asked.append(reference)
        return SecretValue(f"<{reference[1:]}>")

    from_event = {"from_event": "$secret:ROOT", "prose": "write $secret: or $env: $secret:ROOT"}
    both = "$secret:ROOT $secret:API_KEY, $vault:kv/a#b@3; $secret:ROOT"
    assert render(PARAMS, EVIL) == {**PARAMS, **from_event, "both": both}
    rendered = render(PARAMS, EVIL, resolve_ref=resolve)
    found = ["$secret:API_KEY", "$secret:API_KEY", "$secret:API_KEY", "$vault:kv/a#b@3", "$env:TOKEN"]
    assert asked == found == [ref for _, ref in find_secret_refs(PARAMS)]
    assert rendered == {
        **from_event,
        "key": SecretValue("<secret:API_KEY>"),
        "embedded": SecretValue("Bearer <secret:API_KEY>"),
        "both": SecretValue("$secret:ROOT <secret:API_KEY>, <vault:kv/a#b@3>; $secret:ROOT"),
        "nested": [{"env": SecretValue("<env:TOKEN>")}],
    }
    assert before == PARAMS
    pointers = ["/key", "/embedded", "/both", "/both", "/nested/0/env"]
    assert [pointer for pointer, _ in find_secret_refs(PARAMS)] == pointers


@pytest.mark.parametrize(
    "text",
    [
        "$secret:{{ event.payload.evil }}", "$secret:KEY_{{ event.payload.evil }}", "a $env:{{ event.payload.evil }}",
        "a $secret:B {{- event.payload.evil }}", "$secret:A{# a remark #}B", "$secret:A#{{ event.payload.evil }}",
        "$secret:A@{{ event.payload.evil }}",
    ],
)  # fmt: skip
def test_a_template_cannot_make_a_reference_nor_change_one(text: Any) -> None:
    with pytest.raises(TemplateError, match="/a: A secret reference is written out whole"):
        render({"a": text}, EVIL, resolve_ref=SecretValue)
    assert find_secret_refs({"a": text}) == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["$", "secret", "env", ":", "A", "#", "@", " ", "{", ",", "ä"])), st.text(max_size=9))
def test_no_data_is_ever_taken_for_a_reference(before: Any, data: Any) -> None:
    text = "".join(before)
    asked: list[str] = []

    def resolve(reference: Any) -> Any:
        asked.append(reference)
        return SecretValue(reference)

    context = {"event": {"payload": {"evil": data, "more": "$secret:ROOT"}}}
    with contextlib.suppress(TemplateError):
        template = f"{text}{{{{ event.payload.evil }}}}{{{{ event.payload.more }}}}"
        rendered = render([template], context, resolve_ref=resolve)
        assert not any("ROOT" in ref for ref in asked)
        assert all(ref in text for ref in asked)
        assert bool(asked) == isinstance(rendered[0], SecretValue)


def test_a_rendered_secret_counts() -> None:
    with pytest.raises(TemplateError, match="larger than 50 bytes"):
        render(["a $secret:A"], {}, max_bytes=50, resolve_ref=lambda ref: SecretValue("x" * 50))


def test_what_is_rendered_is_a_copy() -> None:
    result = render({"lines": "{{ event.payload.lines }}", "literal": [{"a": 1}]}, CONTEXT)
    result["lines"][0]["name"] = "changed"
    assert PAYLOAD["lines"][0]["name"] == "tea"


def test_errors_say_where() -> None:
    with pytest.raises(TemplateError, match=r"^/a/0/b: event.payload.x is not defined") as caught:
        render({"a": [{"b": "{{ event.payload.x }}"}]}, CONTEXT)
    assert caught.value.context == {"path": "event.payload.x", "pointer": "/a/0/b"}
