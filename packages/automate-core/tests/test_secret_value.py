"""The type of secrets: every way to show an object shows the same of each of them."""

from __future__ import annotations

import copy
import csv
import dataclasses
import enum
import inspect
import io
import json
import logging
import pickle
import pprint
import re
import reprlib
import string
import sys
import traceback
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from automate_core.errors import AutomateError
from automate_core.redaction import REDACTED, redact, redact_text
from automate_core.secrets import SecretValue, is_reference
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

unhurried = settings(deadline=None)
texts = st.text(min_size=1) | st.text("ab", min_size=1, max_size=2)


@dataclasses.dataclass
class Record:
    token: Any


class Pair(NamedTuple):
    token: Any


class Slotted:
    __slots__ = ("token",)

    def __init__(self, token: Any) -> None:
        self.token = token


class Settings(BaseModel):
    token: SecretValue
    tokens: list[SecretValue] = []


Couple = namedtuple("Couple", "token other")


def logged(value: Any) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.Logger("shown")
    logger.addHandler(handler)
    logger.warning("%s %r", value, value, extra={"token": value})
    logger.warning("%(token)s", {"token": value})
    return stream.getvalue()


def traced(value: Any) -> str:
    def fail(token: Any) -> None:
        kept = [token, {"token": token}]
        raise ValueError(f"failed with {token}", token, kept)

    try:
        fail(value)
    except ValueError as error:
        error.add_note(f"the token was {value!r}")
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        return "".join(shown.format()) + repr(error) + repr(error.args)
    raise AssertionError("it did not fail")


def written(value: Any) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerow([value, [value]])
    return stream.getvalue()


def printed(value: Any) -> str:
    stream = io.StringIO()
    print(value, [value], file=stream)
    return stream.getvalue()


def enumerated(value: Any) -> str:
    class Tokens(enum.Enum):
        TOKEN = value

    return f"{list(Tokens)} {Tokens.TOKEN!r} {Tokens.TOKEN.value} {Tokens(value)!r}"


def listed(value: Any) -> str:
    found = [(name, member) for name, member in inspect.getmembers(value) if not name.startswith("__")]
    return f"{dir(value)} {found} {[getattr(type(value), name) for name in dir(type(value))]} {inspect.getdoc(value)}"


SHOWS: dict[str, Callable[[Any], Any]] = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "format": format,
    "an f-string": lambda value: f"{value} {value!r} {value!s} {value!a} {value:>40} {value:x} {value:%Y}",
    "str.format": lambda value: "{} {0!r:>9} {t:q}".replace("{}", "{0}").format(value, t=value),
    "%": lambda value: "%s %r %a %40s %.3s" % ((value,) * 5) + "%(t)s %(t)r" % {"t": value},  # noqa: UP031 - tested
    "string.Template": lambda value: string.Template("$token ${token}").substitute(token=value),
    "pprint": lambda value: pprint.pformat({"token": value, "list": [value] * 40}, width=20),
    "reprlib": reprlib.repr,
    "containers": lambda value: repr([[value], (value,), {value}, {value: value}, deque([value])]),
    "an ordered dict": lambda value: repr(OrderedDict(a=value)),
    "a dataclass": lambda value: repr([Record(value), dataclasses.asdict(Record(value))]),
    "a dataclass as a tuple": lambda value: repr(dataclasses.astuple(Record(value))),
    "named tuples": lambda value: repr([Pair(value), Pair(value)._asdict(), Couple(value, [value])]),
    "an enum": enumerated,
    "logging": logged,
    "a traceback with locals": traced,
    "csv": written,
    "print": printed,
    "inspection": listed,
    "a model": lambda value: repr([Settings(token=value, tokens=[value]), str(Settings(token=value))]),
    "a dump": lambda value: repr(Settings(token=value, tokens=[value]).model_dump()),
    "a dump for JSON": lambda value: repr(Settings(token=value, tokens=[value]).model_dump(mode="json")),
    "JSON of a model": lambda value: Settings(token=value, tokens=[value]).model_dump_json(),
    "a type adapter": lambda value: TypeAdapter(dict[str, SecretValue]).dump_json({"a": value}).decode(),
    "a copied model": lambda value: repr(Settings(token=value).model_copy(deep=True)),
    "JSON with a default": lambda value: json.dumps({"token": value}, default=str),
    "the redactor": lambda value: repr(redact([value, {"token": value, "x": Record(value)}, Pair(value)])),
    "the redactor with slots": lambda value: repr(redact({"x": [Slotted(value)], "y": value})),
    "a redacted text": redact_text,
    "an error": lambda value: repr(AutomateError(f"with {value}")),
    "the context of an error": lambda value: repr(AutomateError("x", context={"got": value}).context),
    "a joined one": lambda value: f"{'Bearer ' + value} {value + ' x'!r} {value + value}",
    "its size": lambda value: str(sys.getsizeof(value)),
}  # fmt: skip
"""What shows an object, by name; each gives a text or raises a TypeError."""


REFUSALS: dict[str, Callable[[Any], Any]] = {
    "json": json.dumps,
    "json within": lambda value: json.dumps({"token": [value]}),
    "json by vars": lambda value: json.dumps(value, default=vars),
    "pickle": pickle.dumps,
    "pickle within": lambda value: pickle.dumps({"token": [value]}),
    "reduce": lambda value: value.__reduce__(),
    "state": lambda value: value.__getstate__(),
    "vars": vars,
    "join": lambda value: "".join([value]),
    "concatenation with bytes": lambda value: b"" + value,
    "bytes": bytes,
    "int": int,
    "len": len,
    "iteration": list,
    "an item": lambda value: value[0],
    "a part": lambda value: "a" in value,
    "repetition": lambda value: value * 2,
    "order": lambda value: value < value,
    "%d": lambda value: "%d" % value,  # noqa: UP031 - this is what is tested
    "dataclasses.fields": dataclasses.fields,
    "index": lambda value: [1][value],
}


@unhurried
@given(texts)
@example("hunter2")
def test_whatever_shows_it_shows_the_same_of_every_secret(text: str) -> None:
    value, other = SecretValue(text), SecretValue("something else entirely")
    for name, show in SHOWS.items():
        shown = show(value)
        if name not in ("inspection", "its size"):
            assert REDACTED in shown, name
        assert re.sub("0x[0-9a-f]+", "0x", shown) == re.sub("0x[0-9a-f]+", "0x", show(other)), name


@unhurried
@given(texts)
def test_what_needs_its_content_is_refused_without_it(text: str) -> None:
    value, other = SecretValue(text), SecretValue("something else entirely")
    for name, take in REFUSALS.items():
        with pytest.raises((TypeError, AttributeError)) as refused:
            take(value)
        with pytest.raises(type(refused.value)) as refused_too:
            take(other)
        assert str(refused.value) == str(refused_too.value), name
    for encode in (to_json, to_jsonable_python):
        with pytest.raises(PydanticSerializationError, match=r"SecretValue'>$"):
            encode({"token": value})


@unhurried
@given(texts)
def test_it_gives_what_it_was_made_of(text: str) -> None:
    value = SecretValue(text)
    assert value.reveal() == text
    assert type(value.reveal()) is str
    assert copy.copy(value) is value
    assert copy.deepcopy([value])[0] is value
    assert dataclasses.replace(Record(value)).token is value
    assert Settings(token=value).token is value


@unhurried
@given(texts, texts)
def test_it_is_equal_by_content_and_to_its_own_kind_alone(one: str, other: str) -> None:
    value = SecretValue(one)
    assert (value == SecretValue(other)) == (one == other)
    assert (value != SecretValue(other)) == (one != other)
    assert value == SecretValue(one)
    assert hash(value) == hash(SecretValue(one))
    assert value != one
    assert one != value
    assert hash(value) != hash(one)
    assert {value: 1}[SecretValue(one)] == 1
    assert {value, SecretValue(one)} == {value}


@unhurried
@given(texts, st.text(), st.text())
def test_joined_with_text_it_stays_secret(text: str, before: str, after: str) -> None:
    joined = before + SecretValue(text) + after
    assert isinstance(joined, SecretValue)
    assert joined.reveal() == before + text + after
    joined += SecretValue(text)
    assert joined.reveal() == before + text + after + text


class Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "text"


def test_it_takes_texts_alone() -> None:
    for wrong in (b"bytes", 5, None, ["x"], SecretValue("x")):
        with pytest.raises(TypeError, match=r"^a SecretValue is made of a text$"):
            SecretValue(wrong)  # type: ignore[arg-type]  # this is what is tested
    with pytest.raises(ValueError, match="not empty"):
        SecretValue("")
    assert type(SecretValue(Text("x")).reveal()) is str
    assert not is_reference(SecretValue("$secret:A"))


def test_it_does_not_change_and_has_no_heirs() -> None:
    value = SecretValue("hunter2")
    for name in ("_read", "other", "__class__"):
        with pytest.raises(AttributeError, match="does not change"):
            setattr(value, name, Slotted)
    with pytest.raises(AttributeError, match="does not change"):
        del value._read
    value.__init__("other")  # type: ignore[call-arg]  # whoever tries to make it anew changes nothing
    assert value.reveal() == "hunter2"
    with pytest.raises(TypeError, match="no subclasses"):
        type("Shown", (SecretValue,), {"__repr__": lambda self: self.reveal()})
    assert not hasattr(value, "__dict__")


def test_a_hash_cannot_be_recomputed_elsewhere(tmp_path: Any) -> None:
    import subprocess

    program = "from automate_core.secrets import SecretValue; print(hash(SecretValue('hunter2')))"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": "0"}, text=True, capture_output=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(hashes) == 2


# -- pydantic ---------------------------------------------------------------------------------------------------------


class Frozen(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)
    token: SecretValue


@pytest.mark.parametrize("model", [Settings, Frozen])
def test_a_field_takes_a_secret_and_no_text(model: type[Settings]) -> None:
    assert model(token=SecretValue("hunter2")) == model(token=SecretValue("hunter2"))
    assert model(token=SecretValue("hunter2")) != model(token=SecretValue("hunter3"))
    for wrong in ("hunter2-in-clear", "$secret:TOKEN", 5, SecretStr("hunter2")):
        with pytest.raises(ValidationError, match="takes a secret reference such as") as refused:
            model.model_validate({"token": wrong})
        assert "hunter2" not in f"{refused.value}{refused.value.errors()}{refused.value.json()}"
    with pytest.raises(ValidationError, match="takes a secret reference such as"):
        model.model_validate_json('{"token": "hunter2-in-clear"}')
    # It may have come with an event: whoever sends those decides neither what is hidden nor what is forgotten.
    assert redact_text("hunter2-in-clear") == "hunter2-in-clear"
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(model(token=SecretValue("hunter2")))


def test_its_schema_takes_references() -> None:
    from automate_core.schema import check, supported

    schema = Settings.model_json_schema()
    supported(schema)
    assert schema["properties"]["token"]["writeOnly"] is True
    for good in ("$secret:TOKEN", "Bearer $vault:kv/a#b"):
        assert check(schema, {"token": good}) is None
    assert "hunter2" not in str(check(schema, {"token": "hunter2"}))
    assert check(schema, {"token": "hunter2"}) is not None
