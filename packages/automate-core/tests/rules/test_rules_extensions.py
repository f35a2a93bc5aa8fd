"""Operators that a user turns on: what they give, what they say, and what they survive."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from automate_core import settings
from automate_core.errors import (
    ConfigurationError,
    RuleError,
    RuleLimitExceeded,
    RuleSyntaxError,
    UnknownOperationError,
)
from automate_core.rules import Engine, compile_rule, custom_operator, engine_for
from automate_core.rules.extensions import EXTENSIONS
from automate_core.rules.operators import CLASSIC
from hypothesis import given
from hypothesis import strategies as st

ENGINE = engine_for(extensions=EXTENSIONS)
ADDED = sorted(set(ENGINE.operators) - set(CLASSIC))
DATA: dict[str, Any] = {
    "name": " Dr Müller ", "plan": "Gold", "phone": 4930123, "items": [1, 2], "order": {"a": 1}, "none": None,
    "paid_at": "2026-04-02T12:00:00Z", "created_at": "2026-03-29T01:30:00+01:00", "stamp": 1_700_000_000,
    "zone": "Europe/Berlin", "wait": "P3D", "unit": "days", "flag": True,
}  # fmt: skip


def value(rule: Any, data: Any = DATA, engine: Engine = ENGINE) -> Any:
    compiled = engine.compile_rule(rule)
    tree = compiled.explain(data)
    assert tree["result"] is compiled.evaluate(data)
    assert engine.explain(rule, data) == tree
    json.dumps(tree, allow_nan=False)
    return compiled.value(data)


def var(name: str) -> dict[str, str]:
    return {"var": name}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"lower": var("plan")}, "gold"),
        ({"upper": [var("plan")]}, "GOLD"),
        ({"trim": [var("name")]}, "Dr Müller"),
        ({"lower": var("phone")}, "4930123"),
        *(({name: var(other)}, None) for name in ("lower", "upper", "trim") for other in ("none", "items", "flag")),
        ({"starts_with": [{"trim": var("name")}, "Dr"]}, True),
        ({"starts_with": [var("phone"), 49]}, True),
        ({"ends_with": [var("plan"), "ld"]}, True),
        ({"ends_with": [var("plan"), "LD"]}, False),
        ({"starts_with": [var("plan"), ""]}, True),
        ({"starts_with": [var("none"), ""]}, False),
        ({"ends_with": [var("plan"), var("none")]}, False),
        ({"length": var("plan")}, 4),
        ({"length": [[1, 2, 3]]}, 3),
        ({"length": var("items")}, 2),
        ({"length": var("order")}, 1),
        ({"length": var("none")}, 0),
        ({"length": var("nothing")}, 0),
        ({"length": var("phone")}, None),
        ({"between": [5, 5, 9]}, True),
        ({"between": [9, 5, 9]}, True),
        ({"between": [9.5, 5, 9]}, False),
        ({"between": ["7", 5, 9]}, True),
        ({"between": ["b", "a", "c"]}, True),
        ({"between": ["10", "9", "99"]}, False),
        ({"between": [None, 0, 1]}, False),
        ({"between": [[1], 0, 2]}, False),
        ({"between": ["x", 0, 2]}, False),
        ({"matches": [var("plan"), "^G.l"]}, True),
        ({"matches": [var("plan"), "(?i)OLD$"]}, True),
        ({"matches": [var("name"), "M\\pLller"]}, True),
        ({"matches": [var("phone"), "^49\\d+$"]}, True),
        ({"matches": [var("none"), ".*"]}, False),
        ({"matches": ["\ud800", "^.$"]}, True),
    ],
)  # fmt: skip
def test_texts_and_ranges(rule: Any, expected: Any) -> None:
    assert value(rule) == expected
    assert type(value(rule)) is type(expected)


NO_DATES: list[Any] = [
    "", "soon", "2026-02-30", "2026-13-01", "2026-1-1", "20260101", "2026-01-01T25:00", "2026-01-01T23:59:60Z",
    "0000-01-01", "10000-01-01", "٢٠٢٦-01-01", "2026-01-01T00:00+99:00", True, None, [], 1e300, -(2**300),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"date": "2026-01-02"}, "2026-01-02T00:00:00.000000Z"),
        ({"date": "2026-01-02T03:04"}, "2026-01-02T03:04:00.000000Z"),
        ({"date": "2026-01-02t03:04:05.5z"}, "2026-01-02T03:04:05.500000Z"),
        ({"date": "2026-01-02 03:04:05.123456789-02:30"}, "2026-01-02T05:34:05.123456Z"),
        ({"date": var("created_at")}, "2026-03-29T00:30:00.000000Z"),
        ({"date": ["2026-07-01T12:00", "Europe/Berlin"]}, "2026-07-01T10:00:00.000000Z"),
        ({"date": ["2026-07-01T12:00Z", "Europe/Berlin"]}, "2026-07-01T12:00:00.000000Z"),
        ({"date": ["2026-07-01", var("zone")]}, "2026-06-30T22:00:00.000000Z"),
        ({"date": ["2026-07-01", var("nothing")]}, None),
        ({"date": var("stamp")}, "2023-11-14T22:13:20.000000Z"),
        ({"date": [-1.5]}, "1969-12-31T23:59:58.500000Z"),
        *(({"date": [wrong]}, None) for wrong in NO_DATES),
        ({"date": ["0001-01-01T00:00+01:00"]}, None),
        ({"date": ["9999-12-31T23:59-01:00"]}, None),
        ({"date_add": [var("paid_at"), "P3DT1H"]}, "2026-04-05T13:00:00.000000Z"),
        ({"date_add": [var("paid_at"), "-PT0.5S"]}, "2026-04-02T11:59:59.500000Z"),
        ({"date_add": [var("paid_at"), var("wait")]}, "2026-04-05T12:00:00.000000Z"),
        ({"date_add": ["2026-01-31", "P1M"]}, "2026-02-28T00:00:00.000000Z"),
        ({"date_add": ["2024-02-29", "-P1Y"]}, "2023-02-28T00:00:00.000000Z"),
        ({"date_add": ["2026-01-31", "P1M1D"]}, "2026-03-01T00:00:00.000000Z"),
        ({"date_add": ["2026-01-31", var("plan")]}, None),
        ({"date_add": ["2026-01-31", "P9999Y"]}, None),
        ({"date_add": ["2026-01-31", "-P999999999Y999999999M999999999D"]}, None),
        ({"date_add": ["9999-12-31", "P1D"]}, None),
        ({"date_diff": [var("paid_at"), var("created_at"), "hours"]}, 107.5),
        ({"date_diff": [var("created_at"), var("paid_at"), "minutes"]}, -6450),
        ({"date_diff": ["2026-01-15", "2026-01-01", "weeks"]}, 2),
        ({"date_diff": [1, 0, "seconds"]}, 1),
        ({"date_diff": ["2026-01-15", "2026-01-01", var("unit")]}, 14),
        ({"date_diff": ["2026-01-15", "2026-01-01", var("plan")]}, None),
        ({"date_diff": ["2026-01-15", "soon", "days"]}, None),
        ({"date_part": [var("paid_at"), "weekday"]}, 4),
        ({"date_part": [var("paid_at"), "hour", "Europe/Berlin"]}, 14),
        ({"date_part": ["2026-01-01T08:09:10", "hour", "Asia/Tokyo"]}, 8),
        ({"date_part": ["2026-01-01", "week"]}, 1),
        *(({"date_part": ["2026-05-06T07:08:09.9", part]}, expected) for part, expected in (
            ("year", 2026), ("month", 5), ("day", 6), ("hour", 7), ("minute", 8), ("second", 9),
        )),
        ({"date_part": ["0001-01-01", "year", "America/New_York"]}, 1),
        ({"date_part": ["0001-01-01T00:00Z", "year", "America/New_York"]}, None),
        ({"date_part": [var("paid_at"), var("plan")]}, None),
        ({"date_part": ["soon", "year"]}, None),
        # With what JSONLogic has, and `between`.
        ({">": [{"date": "2026-01-01T00:30+01:00"}, {"date": "2025-12-31T23:00Z"}]}, True),
        ({"==": [{"date": "2026-01-01T01:00+01:00"}, {"date": "2026-01-01"}]}, True),
        ({"between": [{"date": var("paid_at")}, {"date": "2026-01-01"}, {"date": "2026-12-31"}]}, True),
        ({">": [{"date_diff": [var("paid_at"), var("created_at"), "days"]}, 3]}, True),
        ({">": [{"date": "soon"}, {"date": "2026-01-01"}]}, False),
    ],
)  # fmt: skip
def test_dates(rule: Any, expected: Any) -> None:
    assert value(rule) == expected


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"starts_with": [var("plan"), "Dr"]}, 'plan is "Gold", needs to start with "Dr"'),
        ({"ends_with": [var("plan"), "ld"]}, 'plan is "Gold", which ends with "ld"'),
        ({"matches": [{"lower": var("plan")}, "^x"]}, 'plan in lower case is "gold", needs to match "^x"'),
        ({"between": [{"length": var("items")}, 3, 5]},
         "the length of items is 2, needs to be at least 3 and at most 5"),
        ({"between": [var("nothing"), 0, 1]}, "nothing is missing, needs to be at least 0 and at most 1"),
        ({">": [{"date_diff": [var("paid_at"), var("created_at"), "days"]}, 5]},
         "the time from created_at to paid_at in days is 4.479166666666667, needs to be more than 5"),
        ({"in": [{"date_part": [var("paid_at"), "weekday"]}, [6, 7]]},
         "the weekday of paid_at is 4, needs to be one of [6, 7]"),
        ({"date_add": [var("paid_at"), "P1D"]}, 'paid_at plus "P1D" is "2026-04-03T12:00:00.000000Z"'),
        ({"starts_with": [var("password"), "h"]}, "the value is redacted, which starts with"),
    ],
)  # fmt: skip
def test_sentences(rule: Any, reason: str) -> None:
    tree = ENGINE.explain(rule, DATA | {"password": "hunter-two"})
    assert tree["reason"].startswith(reason)
    assert "hunter" not in json.dumps(tree)


@pytest.mark.parametrize(
    ("rule", "pointer", "words"),
    [
        ({"and": [{"matches": [var("a"), "("]}]}, "/and/0/matches/1", "missing"),
        ({"matches": [var("a"), var("b")]}, "/matches/1", "written in the rule"),
        ({"matches": [var("a"), 5]}, "/matches/1", "written in the rule"),
        ({"matches": [var("a"), "(a)\\1"]}, "/matches/1", "invalid escape"),
        ({"matches": [var("a"), "(?=a)"]}, "/matches/1", "invalid perl operator"),
        ({"matches": [var("a"), "x" * 1_001]}, "/matches/1", "1,000 characters"),
        ({"matches": [var("a"), "((a{100}){100}){100}"]}, "/matches/1", "repetition size"),
        ({"matches": [var("a"), "(\\pL{1,30}){1,30}"]}, "/matches/1", "too large"),
        ({"matches": [var("a"), "\ud800"]}, "/matches/1", "not Unicode"),
        ({"date": [var("a"), "Europe/Bern"]}, "/date/1", "no time zone"),
        ({"date": [var("a"), "../../etc/passwd"]}, "/date/1", "no time zone"),
        ({"date": [var("a"), "Europe"]}, "/date/1", "no time zone"),
        ({"date": [var("a"), "\0"]}, "/date/1", "no time zone"),
        ({"date": [var("a"), 1]}, "/date/1", "no time zone"),
        ({"date_add": [var("a"), "3 days"]}, "/date_add/1", "P3D"),
        ({"date_add": [var("a"), "P"]}, "/date_add/1", "P3D"),
        ({"date_add": [var("a"), "P1DT"]}, "/date_add/1", "P3D"),
        ({"date_add": [var("a"), "P" + "9" * 1_000 + "D"]}, "/date_add/1", "P3D"),
        ({"date_add": [var("a"), "P999999999W"]}, "/date_add/1", "P3D"),
        ({"date_diff": [var("a"), var("b"), "months"]}, "/date_diff/2", "seconds, minutes"),
        ({"map": [[1], {"date_part": [var(""), "wday"]}]}, "/map/1/date_part/1", "weekday"),
        ({"date_diff": [var("a"), var("b")]}, "", "2 operands instead of 3"),
        ({"lower": []}, "", "0 operands instead of 1"),
    ],
)
def test_a_wrong_constant_is_refused_when_compiled(rule: Any, pointer: str, words: str) -> None:
    for compile_or_explain in (ENGINE.compile_rule, lambda rule: ENGINE.explain(rule, {})):
        with pytest.raises(RuleSyntaxError, match=words) as caught:
            compile_or_explain(rule)
        assert caught.value.context["pointer"] == pointer


BOMB = "(a|aa)+(b|a*)*c"


@pytest.mark.parametrize(
    ("rule", "data", "refused"),
    [
        ({"matches": [var("text"), BOMB]}, {"text": "a" * 100_000}, False),
        ({"matches": [var("text"), "(a+)+$"]}, {"text": "a" * 1_000_000 + "b"}, False),
        ({"matches": [var("text"), "[ab]*a[ab]{900}c"]}, {"text": "ab" * 1_000_000}, True),
        (
            {"some": [var("many"), {"matches": [{"cat": [var(""), "x"]}, "[ab]*a[ab]{500}c"]}]},
            {"many": ["ab" * 500] * 999},
            True,
        ),
        ({"upper": var("text")}, {"text": "ß" * 2_000_000}, True),
        ({"trim": var("text")}, {"text": " " * 2_000_000}, False),
        ({"map": [var("many"), {"lower": [var("")]}]}, {"many": ["x" * 900] * 9_000}, True),
        ({"between": [var("text"), var("text"), var("text")]}, {"text": "x" * 1_000_000}, False),
        ({"date": [var("text"), var("text")]}, {"text": "2" * 1_000_000}, False),
        ({"date_add": ["2026-01-01", var("text")]}, {"text": "P" + "9" * 1_000_000 + "D"}, False),
        ({"date_add": [var("text"), "P1D"]}, {"text": 10**200_000}, False),
        ({"length": var("text")}, {"text": [[]] * 1_000_000}, False),
        ({"starts_with": [var("text"), var("text")]}, {"text": 10**200_000}, False),
        ({"date_part": [var("text"), "week", "Pacific/Kiritimati"]}, {"text": float("nan")}, False),
    ],
)
def test_hostile_data_ends_in_a_value_or_a_limit(rule: Any, data: Any, refused: bool) -> None:
    compiled = ENGINE.compile_rule(rule)
    if refused:
        for run in (compiled.evaluate, compiled.explain):
            with pytest.raises(RuleLimitExceeded) as caught:
                run(data)
            assert isinstance(caught.value.context["pointer"], str)
    else:
        assert compiled.explain(data)["result"] is compiled.evaluate(data)


OPERANDS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.datetimes().map(datetime.isoformat), st.datetimes(timezones=st.timezones()),
    st.sampled_from(["P1M", "-PT5S", "days", "weekday", "Europe/Berlin", "2026-02-29", "a+", "UTC", "\ud800"]),
)  # fmt: skip


@given(name=st.sampled_from(ADDED), values=st.lists(OPERANDS, min_size=3, max_size=3), written=st.integers(0, 7))
def test_any_data_gives_a_value_and_explain_agrees(name: str, values: list[Any], written: int) -> None:
    """Operands from the data never raise; those written in the rule may be refused when it is compiled, not later."""
    operator = ENGINE.operators[name]
    data = {str(at): item for at, item in enumerate(values)}
    operands: list[Any] = [
        copy.deepcopy(item) if written & 1 << at and isinstance(item, str | int | None) else var(str(at))
        for at, item in enumerate(values[: operator.maximum])
    ]
    if name == "matches":
        operands[1] = "^[a-z0-9]*$"
    try:
        compiled = ENGINE.compile_rule({name: operands})
    except RuleError:
        assert written
        return
    result = compiled.value(data)
    assert result is None or type(result) in (bool, int, float, str)
    assert compiled.explain(data)["result"] is compiled.evaluate(data)
    assert ENGINE.compile_rule({"if": [True, {name: operands}]}).value(data) == result
    assert ENGINE.compile_rule({"map": [var("items"), {name: operands}]}).value({"items": [data]}) == [result]


@given(first=st.datetimes(timezones=st.timezones()), second=st.datetimes(timezones=st.timezones()))
def test_dates_as_text_are_ordered_as_points_in_time(first: datetime, second: datetime) -> None:
    try:
        instants = first.astimezone(UTC), second.astimezone(UTC)
    except OverflowError:
        return
    data = {"a": instants[0].isoformat(), "b": instants[1].isoformat().replace("+00:00", "Z")}
    dates = [{"date": var("a")}, {"date": var("b")}]
    assert ENGINE.evaluate({"<": dates}, data) is (instants[0] < instants[1])
    assert ENGINE.evaluate({"==": dates}, data) is (instants[0] == instants[1])
    seconds = (instants[0] - instants[1]) / timedelta(seconds=1)
    assert value({"date_diff": [var("a"), var("b"), "seconds"]}, data) == seconds


@given(text=st.text(max_size=20), piece=st.text(max_size=3))
def test_tests_of_texts_are_those_of_python(text: str, piece: str) -> None:
    data = {"a": text, "b": piece}
    assert value({"starts_with": [var("a"), var("b")]}, data) is text.startswith(piece)
    assert value({"ends_with": [var("a"), var("b")]}, data) is text.endswith(piece)
    assert value({"length": var("a")}, data) == len(text)


def test_extensions_are_off_and_engines_are_kept() -> None:
    for name in ADDED:
        (group,) = [group for group, names in EXTENSIONS.items() if name in names]
        told = rf"The extension '{group}' has it, .* RULES\.extensions"
        with pytest.raises(UnknownOperationError, match=told) as caught:
            compile_rule({"and": [{name: [1, 2, 3][: ENGINE.operators[name].maximum]}]})
        assert caught.value.context == {"pointer": "/and/0"}
        assert name in engine_for(extensions=[group]).operators
    assert sorted(ADDED) == sorted(name for names in EXTENSIONS.values() for name in names)
    assert engine_for() is engine_for("classic", []) is engine_for(dialect="classic")
    assert engine_for(extensions=("text", "dates")) is engine_for(extensions=["dates", "text", "dates"])
    assert set(engine_for(extensions=["text"]).operators) - set(CLASSIC) == {
        "lower", "upper", "trim", "starts_with", "ends_with",
    }  # fmt: skip
    custom = engine_for(extensions=["text"]).with_operators(custom_operator("length", len))
    assert custom.evaluate({"==": [{"length": "abc"}, 3]}, {}) is True
    assert "length" not in engine_for(extensions=["text"]).operators


def test_unknown_names_are_configuration_errors_that_list_the_known() -> None:
    with pytest.raises(ConfigurationError, match="dates, ranges, regex, text"):
        engine_for(extensions=["date"])
    with pytest.raises(ConfigurationError, match="classic, community"):
        engine_for("javascript")
    with pytest.raises(ConfigurationError, match=r"RULES.extensions.*dates, ranges, regex, text"):
        settings.parse({"RULES": {"extensions": ["clock"]}})
    with pytest.raises(ConfigurationError, match=r"RULES.dialect"):
        settings.parse({"RULES": {"dialect": "javascript"}})


def test_a_missing_extra_names_the_command() -> None:
    code = (
        "import sys; sys.modules['re2'] = None\n"
        "from automate_core.errors import ConfigurationError\n"
        "from automate_core.rules import engine_for\n"
        "engine_for(extensions=['text', 'dates', 'ranges'])\n"
        "for _ in range(2):\n"
        "    try: engine_for(extensions=['regex'])\n"
        "    except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'automate-core[regex]'") == 2


def test_no_group_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys, automate_core.rules; "
        "print(sorted({'re2', 'zoneinfo', 'automate_core.rules.extensions.text'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
