"""What an action gets of secrets, in whichever form it describes its input, and what errors about it say."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from automate_core import redaction
from automate_core.connectors import ActionSpec, Connector, revealed
from automate_core.errors import AutomateError, InvalidInputError, PermanentError
from automate_core.redaction import REDACTED, redact, remember
from automate_core.secrets import SecretValue
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretBytes,
    SecretStr,
    field_validator,
    model_validator,
)

SECRET = "hunter2-hunter2"
SHORT = "hunt"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    yield
    redaction._live.clear()


class Inner(BaseModel):
    token: SecretValue
    day: date = date(2026, 11, 30)


class Input(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    token: SecretValue | None = None
    key: SecretStr = SecretStr("")
    raw: SecretBytes | None = None
    text: str = ""
    number: int = 0
    headers: dict[str, str] = {}
    anything: Any = Field(None, alias="any")
    inner: list[Inner] = []
    by_number: dict[int, SecretValue] = {}
    several: set[SecretValue] = set()


def test_each_field_gets_the_secret_as_its_type_says() -> None:
    secret, number = SecretValue(SECRET), SecretValue("12345")
    given = {
        "token": secret, "key": secret, "raw": secret, "text": secret, "number": number, "headers": {"a": secret},
        "any": [{"deep": secret}], "inner": [{"token": secret}], "by_number": {7: secret}, "several": [secret],
    }  # fmt: skip
    got = ActionSpec("a", Input).validate_input(given)
    assert got == {
        "token": secret, "key": SecretStr(SECRET), "raw": SecretBytes(SECRET.encode()), "text": SECRET, "number": 12345,
        "headers": {"a": SECRET}, "any": [{"deep": SECRET}], "inner": [{"token": secret, "day": "2026-11-30"}],
        "by_number": {"7": secret}, "several": [secret],
    }  # fmt: skip
    assert type(got["text"]) is type(got["headers"]["a"]) is type(got["any"][0]["deep"]) is str
    again = Input.model_validate(got)  # as connectors do that work with the model
    assert again.token == secret
    assert again.key.get_secret_value() == SECRET
    assert ActionSpec("a", Input).validate_input(again.model_dump(exclude={"several", "by_number", "token", "inner"}))


def test_a_literal_secret_string_reaches_the_action_too() -> None:
    got = ActionSpec("a", Input).validate_input({"key": "in clear"})
    assert got["key"].get_secret_value() == "in clear"


def test_an_action_with_a_json_schema_gets_texts() -> None:
    schema = {"type": "object", "properties": {"token": {"type": "string", "minLength": 5}, "more": {}}}
    got = ActionSpec("a", schema).validate_input({"token": SecretValue(SECRET), "more": [SecretValue(SHORT)]})
    assert got == {"token": SECRET, "more": [SHORT]}
    assert type(got["token"]) is type(got["more"][0]) is str


@pytest.mark.parametrize("secret", ["12345", "true", "null", "1.5"])
def test_a_secret_that_looks_like_a_number_stays_text(secret: str) -> None:
    class Query(BaseModel):
        params: dict[str, str | int | float | bool | None]

    got = ActionSpec("a", Query).validate_input({"params": {"key": SecretValue(secret)}})
    assert got == {"params": {"key": secret}}


# -- errors -----------------------------------------------------------------------------------------------------------


def loud(value: str) -> str:
    raise ValueError(f"{value} is wrong, {value!r} too")


class Loud(BaseModel):
    token: Annotated[str, AfterValidator(loud)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    token: str = Field(max_length=3)
    kind: Literal["a", "b"] = "a"


PATTERN = {"type": "object", "properties": {"token": {"type": "string", "maxLength": 2, "enum": ["x"]}}}


@pytest.mark.parametrize("secret", [SECRET, SHORT, 'with "quotes" and \\'])
@pytest.mark.parametrize("schema", [Loud, Strict, PATTERN])
def test_no_error_of_validation_shows_a_secret(schema: Any, secret: str) -> None:
    spec = ActionSpec("a", schema)

    def call(data: Any) -> None:
        spec.validate_input(data)

    remember(secret)  # as the resolver does
    with pytest.raises(InvalidInputError) as refused:
        call({"token": SecretValue(secret)})
    assert "/token" in refused.value.message
    assert refused.value.__traceback__ is not None
    refused.value.__traceback__ = refused.value.__traceback__.tb_next  # this function knows the secret
    shown = "".join(traceback.TracebackException.from_exception(refused.value, capture_locals=True).format())
    assert secret not in refused.value.message + shown + str(redact(refused.value))


class Careless(Connector):
    """Fails with an error of pydantic, which shows the beginning and the end of what it was given."""

    @classmethod
    def actions(cls) -> list[ActionSpec]:
        return [ActionSpec("fail")]

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        class Answer(BaseModel):
            sent: int

        return Answer.model_validate({"sent": f"{input_data['token']} was sent"})


def test_an_error_of_pydantic_within_an_action_is_told_without_its_input() -> None:
    secret = "0123456789abcdef" * 20
    remember(secret)
    with pytest.raises(PermanentError, match="/sent: Input should be a valid integer") as failed:
        Careless().call("fail", {"token": SecretValue(secret)})
    assert "0123456789" not in failed.value.message
    assert "abcdef" not in failed.value.message


# -- before the secrets are known -------------------------------------------------------------------------------------


class Card(BaseModel):
    kind: Literal["card"]
    number: str = Field(pattern="^4")


class Account(BaseModel):
    kind: Literal["account"]
    iban: str = Field(pattern="^DE")


class Payment(BaseModel):
    model_config = ConfigDict(extra="forbid")
    amount: int = Field(gt=0)
    token: str = Field("", pattern="^sk_")
    means: Card | Account | None = None
    mode: str = ""

    @field_validator("mode")
    @classmethod
    def _fits_the_token(cls, mode: str, info: Any) -> str:
        if mode == "live" and not info.data.get("token", "").startswith("sk_live"):
            raise ValueError("the token is not live")
        return mode


UNKNOWN = SecretValue("$secret:TOKEN")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"token": UNKNOWN}, "/amount: Field required"),
        ({"amount": 0, "token": UNKNOWN}, "/amount: Input should be greater than 0"),
        ({"amount": 0}, "/amount: Input should be greater than 0"),
        ({"amount": "many", "means": {"kind": "account", "iban": "DE1"}}, "/amount: Input should be a valid integer"),
        ({"amount": 1, "more": UNKNOWN}, "/more: Extra inputs are not permitted"),
        ({"amount": 1, "token": UNKNOWN}, None),
        ({"amount": 1, "token": UNKNOWN, "mode": "live"}, None),
        ({"amount": 1, "mode": "live"}, None),
        ({"amount": 1, "means": {"kind": "account", "iban": UNKNOWN}}, None),
        ({"amount": UNKNOWN}, None),
        ({"amount": 1, "means": {"kind": "card"}, "token": UNKNOWN}, "/means/"),
    ],
)
def test_what_is_wrong_anyway_is_refused_before_secrets_are_resolved(data: Any, says: str | None) -> None:
    spec = ActionSpec("pay", Payment)
    if says is None:
        spec.ensure_may_fit(data)
        return
    with pytest.raises(InvalidInputError, match=f"the input of 'pay': {says}"):
        spec.ensure_may_fit(data)
    with pytest.raises(InvalidInputError):
        spec.validate_input({**data, "token": SecretValue("sk_live_1")} if "token" in data else data)


def test_a_model_that_rewrites_its_input_is_asked_when_the_secrets_are_known() -> None:
    class Address(BaseModel):
        host: str
        port: int

        @model_validator(mode="before")
        @classmethod
        def _is_one_text(cls, data: Any) -> Any:
            host, _, port = data["address"].partition(":")
            return {"host": host, "port": port} if port else {"host": host}

    spec = ActionSpec("connect", Address)
    spec.ensure_may_fit({"address": SecretValue("unknown")})
    assert spec.validate_input({"address": SecretValue("db:5432")}) == {"host": "db", "port": 5432}


def test_a_json_schema_is_checked_around_the_secrets() -> None:
    schema = {
        "type": "object",
        "properties": {"amount": {"minimum": 1}, "token": {"pattern": "^sk_"}},
        "required": ["amount", "token"],
    }
    spec = ActionSpec("pay", schema)
    spec.ensure_may_fit({"amount": 1, "token": UNKNOWN})
    for wrong in ({"amount": 0, "token": UNKNOWN}, {"token": UNKNOWN}, {"amount": 1}):
        with pytest.raises(InvalidInputError):
            spec.ensure_may_fit(wrong)


# -- settings of connections ------------------------------------------------------------------------------------------


def test_the_settings_of_a_connection_take_secrets_as_its_model_says() -> None:
    class Config(BaseModel):
        token: SecretStr
        user: str
        key: SecretValue

    config = {"token": SecretValue(SECRET), "user": SecretValue("name"), "key": SecretValue(SECRET)}
    model = Config.model_validate(revealed(config))
    assert (model.token.get_secret_value(), model.user, model.key.reveal()) == (SECRET, "name", SECRET)
    assert type(model.user) is str
    assert SECRET not in repr(revealed(config))
    assert REDACTED in repr(revealed(config))


def test_an_action_that_returns_its_secret_is_an_error_of_the_connector() -> None:
    with pytest.raises(AutomateError):
        Careless().call("fail", {"token": "x"})
