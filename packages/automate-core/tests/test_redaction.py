"""The redactor: nothing secret survives it, in any encoding or structure, and nothing benign is hidden."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
import json
import logging
import sys
import threading
import unicodedata
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from automate_core import settings
from automate_core._redaction import keys
from automate_core._redaction.values import LiveValues
from automate_core.errors import AutomateError, ConfigurationError, TransientError
from automate_core.redaction import (
    MIN_LENGTH,
    REDACTED,
    RedactingFilter,
    forget,
    is_secret_key,
    redact,
    redact_text,
    remember,
)
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel, SecretStr

unhurried = hypothesis_settings(deadline=None)

SECRET_NAMES = [
    "x_api_key", "X-Api-Key", "apiKey", "APIKEY", "APIkey", "OPENAI_API_KEY", "api-key-2", "client-secret",
    "clientSecret", "CLIENT_SECRET", "passwordHash", "db_password", "dbPassword", "DBPASSWORD", "PassWord",
    "password2", "passwd", "pwd", "user_pwd", "passphrase", "cookie", "Set-Cookie", "HTTP_COOKIE", "authorization",
    "Authorization", "Proxy-Authorization", "HTTP_AUTHORIZATION", "token", "access_token", "accessToken",
    "refresh_token", "id_token", "csrfmiddlewaretoken", "X-CSRFToken", "authtoken", "OAuth2Token", "bearer_token",
    "private_key", "privateKey", "ssh_private_key", "secret", "secrets", "secret_key", "aws_secret_access_key",
    "secret_id", "credentials", "credential", "jwt", "otp", "totp_code", "cvv", "cvv2", "ssn", "sessionid",
    "session_id", "smtp_pass", "pass", "signing_key", "webhook_secret", "access_tokens", "refresh_tokens",
    "card_number", "connection_string", "recovery_codes", "masterkey", "SIGNINGKEY", "encryptionKey", "sshkey",
    "sessionkey", "dbpass", "ROOTPASS", "smtppass", "sharedkey", "webhookkey", "WebHookKey", "apikeys", "APIKeys",
    "accesskeys", "secretkeys", "refreshtokens", "AccessTokens", "apitokens", "IdTokens", "idtokens", "myDbpass",
    "proddbpass", "awsaccesskeys", "mAsTeRkEy", "hmackey",
]  # fmt: skip

BENIGN_NAMES = [
    "author", "authors", "authored_by", "authority", "monkey", "keyboard", "keyword", "keystone", "turnkey",
    "hotkey", "tokenizer", "tokenize", "tokens", "max_tokens", "min_tokens", "total_tokens", "prompt_tokens",
    "completion_tokens", "prompt_tokens_details", "token_count", "token_usage", "token_type", "token_ids",
    "tokens_per_second", "price_per_token", "time_to_first_token", "page_token", "nextPageToken", "fencing_token",
    "lease_token", "secretary", "secretariat", "passage", "passenger", "passport", "compass", "bypass", "trespass",
    "key", "keys", "public_key", "primary_key", "foreign_key", "cache_key", "idempotency_key", "dedupe_key",
    "ordering_key", "key_id", "access_key_id", "secret_name", "password_changed_at", "password_policy",
    "cookie_policy", "token_expires_at", "token_endpoint", "authorization_url", "authenticated", "auth_method",
    "session", "order_id", "amount", "email", "name", "status", "whiskey", "jockey", "publickey", "primarykey",
    "cachekey", "sortkey", "validtokens", "valid_tokens", "invalid_tokens", "paid_tokens", "surpass", "overpass",
    "encompass", "underpass", "passkeyboard", "monkeys", "hotkeys", "keys_pass",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_key(name)
    assert redact({name: "a value", "n": 1}) == {name: REDACTED, "n": 1}


@pytest.mark.parametrize("name", BENIGN_NAMES)
def test_names_that_only_look_like_it(name: str) -> None:
    assert redact({name: "a value"}) == {name: "a value"}


def test_the_settings_add_names() -> None:
    settings.configure(settings.parse({"REDACT_KEYS": ["badge-number", "shoe"]}))
    try:
        data = {"badgeNumber": "7", "staff_badge_number": "8", "BADGENUMBER": "9", "shoe": 41, "shoes": 2}
        assert redact(data) == dict.fromkeys(data, REDACTED) | {"shoes": 2}
        assert redact_text("badge_number=7 shoes=2") == f"badge_number={REDACTED} shoes=2"
    finally:
        settings.configure(None)


@pytest.mark.parametrize("key", ["пароль", "合言葉", "geheimnis-größe", "ПАРОЛЬ"])
def test_the_settings_add_names_in_any_letters(key: str) -> None:
    settings.configure(settings.parse({"REDACT_KEYS": [key]}))
    try:
        for name in (key, key.upper(), f"my_{key}", f"{key}2", unicodedata.normalize("NFD", key)):
            data = {name: "hunter2", "größe": 7}
            assert redact(data) == {name: REDACTED, "größe": 7}
            assert redact([("x", 1), (name, "y")]) == [("x", 1), (name, REDACTED)]
        assert redact_text(f"{key}=hunter2, größe=7") == f"{key}={REDACTED}, größe=7"
        assert redact_text(f'{{"{key}": "hunter2"}}') == f'{{"{key}": "{REDACTED}"}}'
        assert redact_text(f"<{key}>hunter2</{key}>") == f"<{key}>{REDACTED}</{key}>"
        assert redact_text("これはpassword=hunter2") == f"これはpassword={REDACTED}"
    finally:
        settings.configure(None)


@pytest.mark.parametrize("key", ["", "--", " ", "…"])
def test_a_name_that_names_nothing_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"REDACT_KEYS: .* names no key: it has neither a letter nor a digit"):
        settings.parse({"REDACT_KEYS": ["shoe", key]})


def test_broken_settings_do_not_break_the_error_that_says_so() -> None:
    def broken() -> settings.Settings:
        raise ConfigurationError("SECRETS.backend is wrong, password=hunter2")

    settings.configure(broken)
    try:
        assert redact({"password": "x", "author": "y"}) == {"password": REDACTED, "author": "y"}
        with pytest.raises(ConfigurationError, match=r"password=\[REDACTED\]"):
            settings.current()
    finally:
        settings.configure(None)


# -- live values ------------------------------------------------------------------------------------------------------


def _base64_at(offset: int) -> Callable[[str], str]:
    return lambda value: base64.b64encode(b"u:"[:offset] + value.encode() + b" tail").decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": lambda value: value,
    "json": lambda value: json.dumps({"k": value}),
    "json, not ascii": lambda value: json.dumps({"k": value}, ensure_ascii=False),
    "json in json": lambda value: json.dumps({"k": json.dumps({"k": value})}),
    "repr": lambda value: repr({"k": value}),
    "repr of bytes": lambda value: repr(value.encode()),
    "url": lambda value: urllib.parse.quote(value, safe=""),
    "url path": urllib.parse.quote,
    "url form": lambda value: urllib.parse.urlencode({"k": value}),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 at 0": _base64_at(0),
    "base64 at 1": _base64_at(1),
    "base64 at 2": _base64_at(2),
    "base64 for urls": lambda value: base64.urlsafe_b64encode(b"u:" + value.encode()).decode().rstrip("="),
    "hex": lambda value: value.encode().hex(),
    "HEX": lambda value: value.encode().hex().upper(),
}

secret_values = st.text(st.characters(exclude_categories=["Cs"]), min_size=MIN_LENGTH, max_size=60).filter(
    lambda value: len(value.strip().replace("\\", "")) >= MIN_LENGTH
)
plain_texts = st.text("abc xyz:{}/%=\\", max_size=12)


@dataclasses.dataclass
class Holder:
    first: Any
    second: Any = None


class Model(BaseModel):
    inner: Any


class Pair(NamedTuple):
    left: Any
    right: Any


def _failed(data: Any) -> Exception:
    try:
        try:
            raise ValueError(data)
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        return error


STRUCTURES: list[Callable[[Any], Any]] = [
    lambda data: {"field": data},
    lambda data: {f"{data}": 1},
    lambda data: [1, data],
    lambda data: (data, None),
    lambda data: Pair(1, data),
    lambda data: {str(data)},
    lambda data: frozenset({str(data)}),
    lambda data: str(data).encode("utf-8", "surrogatepass"),
    lambda data: bytearray(b"\xff\xfe" + str(data).encode("utf-8", "surrogatepass") + b"\x80"),
    lambda data: Holder(data),
    lambda data: Model(inner=data),
    lambda data: RootModel[Any](data),
    lambda data: _failed(data),
    lambda data: ExceptionGroup("several", [_failed(data)]),
]


def _shown(data: Any) -> str:
    """Everything that a structure shows, in one text."""
    if isinstance(data, (bytes, bytearray)):
        return bytes(data).decode("utf-8", "replace")
    if isinstance(data, dict):
        return "\n".join(_shown(part) for pair in data.items() for part in pair)
    if isinstance(data, (list, tuple, set, frozenset)):
        return "\n".join(_shown(part) for part in data)
    return str(data)


@unhurried
@given(secret_values, st.sampled_from(sorted(ENCODINGS)), plain_texts, plain_texts, st.data())
def test_a_live_secret_never_survives(value: str, encoding: str, before: str, after: str, data: st.DataObject) -> None:
    encoded = ENCODINGS[encoding](value)
    text = before + encoded + after
    structure: Any = text
    for wrap in data.draw(st.lists(st.sampled_from(STRUCTURES), max_size=4)):
        structure = wrap(structure)
    remember(value)
    try:
        for shown in (redact_text(text), _shown(redact(structure))):
            assert encoded not in shown
            # A secret of brackets and letters could be part of the replacement itself.
            assert value not in shown.replace(REDACTED, "\0")
            assert not _holds_in_base64(value, shown)
    finally:
        forget(value)


def _holds_in_base64(value: str, shown: str) -> bool:
    """Whether a whole line of the text is base64 that holds the value."""
    raw = value.encode()
    for line in shown.replace(REDACTED, "\n").split("\n"):
        try:
            if raw in base64.b64decode(line + "=" * (-len(line) % 4), altchars=b"-_"):
                return True
        except ValueError:
            continue
    return False


@unhurried
@given(secret_values, st.integers(0, 2))
def test_base64_leaves_no_bit_beside_the_match(value: str, offset: int) -> None:
    live = LiveValues()
    live.add(value)
    raw = value.encode()
    encoded = base64.b64encode(b"\0" * offset + raw).decode()
    left = live.replace(encoded, "*").partition("*")
    # What is left before the match encodes the bytes before the secret, and not one bit more.
    assert len(left[0]) * 6 <= offset * 8
    assert left[2] == ""


@unhurried
@given(st.lists(secret_values, min_size=2, max_size=6), plain_texts)
def test_secrets_that_overlap_or_contain_each_other_all_go(values: list[str], glue: str) -> None:
    live = LiveValues()
    text = glue.join([*values, values[0][3:], *values])
    for value in values:
        live.add(value)
    clean = live.replace(text, "\0")
    assert all(value not in clean for value in values if "\0" not in value)


@unhurried
@given(st.text(max_size=300))
def test_texts_without_secrets_stay(text: str) -> None:
    live = LiveValues()
    live.add("a secret value that no text holds")
    assert live.replace(text, REDACTED) == text


def test_short_values_are_not_searched_for() -> None:
    assert not remember("12345")
    assert not remember("  ab   ")
    assert redact_text("12345") == "12345"


def test_a_number_that_is_a_secret_is_hidden_as_a_number_too() -> None:
    remember("48151623")
    try:
        assert redact({"a": 48151623, "b": 48151624}) == {"a": REDACTED, "b": 48151624}
    finally:
        forget("48151623")


def test_beyond_its_limit_the_oldest_are_forgotten_and_the_used_stay() -> None:
    live = LiveValues(limit=20)
    for number in range(20):
        live.add(f"secret value {number:03}")
    live.add("secret value 000")
    for number in range(20, 30):
        live.add(f"secret value {number:03}")
    assert len(live) <= 20
    assert live.replace("secret value 000, secret value 029", "*") == "*, *"
    assert live.replace("secret value 001", "*") == "secret value 001"


def test_values_that_begin_alike_are_found_by_what_sets_them_apart() -> None:
    live = LiveValues()
    values = [f"postgresql://app_user:{number * 7919:08x}@db.internal/orders" for number in range(1000)]
    for value in values:
        live.add(value)
    windows = live._tiers[0]._index
    raw = [pattern for bucket in windows.values() for pattern in bucket if pattern.text in values]
    assert len(raw) == 4 * len(values)
    assert max(len(bucket) for window, bucket in windows.items() if bucket[0].text in values) <= 32
    for value in values[::50]:
        assert live.replace(f"<{value}>", "") == "<>"


def test_threads_may_add_and_search_at_once() -> None:
    live = LiveValues()
    stop = threading.Event()

    def search() -> int:
        found = 0
        while not stop.is_set():
            found += live.replace("the first secret of all", "*") == "*"
        return found

    live.add("the first secret of all")
    with ThreadPoolExecutor(3) as pool:
        searches = [pool.submit(search) for _ in range(2)]
        for number in range(300):
            live.add(f"another secret, number {number}")
        stop.set()
    assert all(one.result() > 0 for one in searches)
    assert all(live.replace(f"another secret, number {number}", "*") == "*" for number in range(300))


# -- shapes -----------------------------------------------------------------------------------------------------------

# Put together here, so that no scanner takes this file for a leak.
SHAPES = {
    "openai": "sk-" + "proj-abcdefghijklmnopqrst",
    "stripe": "sk_" + "live_abcdefghijklmnopqrstuvwx",
    "github": "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789",
    "github, fine-grained": "github_" + "pat_11ABCDEFG0123456789_abcdefghijkl",
    "github, fine-grained, of other letters": "github_" + "pat_11ABCDE0123456789_ijklmnop",
    "gitlab": "glpat-" + "abcdefghijklmnopqrst",
    "slack": "xoxb-" + "123456789012-abcdefghijkl",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "google": "AIza" + "SyA0123456789abcdefghijklmnopqrstuv",
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "pem": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc-def\n-----END RSA PRIVATE KEY-----",
    "pem, cut": "-----BEGIN " + "PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc",
    "visa": "4111 1111 1111 1111",
    "mastercard": "5555-5555-5555-4444",
    "amex": "378282246310005",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("frame", ["{}", "failed with {}", "[{}]", '{{"k": "{}"}}', "a,{}"])
def test_what_looks_like_a_secret_is_hidden(shape: str, frame: str) -> None:
    text = frame.format(shape)
    assert shape[-8:] not in redact_text(text)
    assert REDACTED in redact_text(text)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("password=hunter2", "password=*"),
        ("--api-key=abc --verbose=1", "--api-key=* --verbose=1"),
        ("?access_token=abc&page=2", "?access_token=*&page=2"),
        ("AccountName=a;AccountKey=abc==;x=1", "AccountName=a;AccountKey=*;x=1"),
        ("{'password': 'hun\\'ter2', 'a': 1}", "{'password': '*', 'a': 1}"),
        (
            '{"a": "{\\"password\\": \\"hun\\\\\\"ter2\\", \\"b\\": 2}"}',
            '{"a": "{\\"password\\": \\"*\\", \\"b\\": 2}"}',
        ),
        ("User(name='x', password='y z')", "User(name='x', password='*')"),
        ("auth=('user', 'word') timeout=3", "auth=* timeout=3"),
        ("Authorization: Bearer abc.def\nAccept: x", "Authorization: *\nAccept: x"),
        ('Authorization: Digest username="u", response="abc"\n', "Authorization: *\n"),
        ("Cookie: a=b; c=d", "Cookie: *"),
        ("curl -H 'X-Api-Key: abc1' x", "curl -H 'X-Api-Key: *' x"),
        ("sent Bearer abcdef", "sent Bearer *"),
        ("sent Basic dXNlcjpwYXNz", "sent Basic *"),
        ("<password>hunter2</password><a>b</a>", "<password>*</password><a>b</a>"),
        ("postgres://user:p@ss:w@host:5432/db", "postgres://*@host:5432/db"),
        ("redis://:word@host", "redis://*@host"),
        ("https://tok@github.com/x", "https://*@github.com/x"),
        ("postgres:\\/\\/user:word@host", "postgres:\\/\\/*@host"),
        ("password: 'it is here\nin two lines", "password: '*"),
        ("password: 'it is here\nAccept: x", "password: '*\nAccept: x"),
        ("  token: [see docs\n  page=2", "  token: *\n  page=2"),
        ("  token: [see docs\n    page=2\nand prose\n", "  token: *\n"),
        ('password="first line\nhunter2hunter2 second line', 'password="*'),
        ('"credentials": {\n "user": "ann"', '"credentials": *'),
        ('{"credentials": {"user": "bob",\n"material": "hunter2', '{"credentials": *'),
        ("'secret': ['aaa',\n 'hunter2hunter2',\n 'bbb", "'secret': *"),
        ('{"password": ["a]b", "hunter2hunter2"], "x": 1}', '{"password": *, "x": 1}'),
        ('{"password": {"hint": ")", "value": "hunter2"}}', '{"password": *}'),
        ('{\\"password\\": [\\"a]b\\",\\n\\"c]d\\", \\"x\\"], \\"y\\": 1}', '{\\"password\\": *, \\"y\\": 1}'),
        ("{'credentials': {'note': 'smile :-}',\n  'material': b'x}'}, 'y': 1}", "{'credentials': *, 'y': 1}"),
        ("password=(it's mine) timeout=3", "password=* timeout=3"),
        ("token=[(1, 'it}s'), {2: \"a'b)\"}] and more", "token=* and more"),
        ("token=['never closed] timeout=3", "token=*"),
        ("<password><![CDATA[x<y]]></password><a>b</a>", "<password>*</password><a>b</a>"),
        ("<password>a <![CDATA[b]]> c<![CDATA[d]]></password>", "<password>*</password>"),
        ("<password><![CDATA[x<y", "<password>*"),
        ("<a><![CDATA[<password>x</password>]]></a>", "<a><![CDATA[<password>*</password>]]></a>"),
        ("https://hooks.slack.com/services/T0/B0/abcdef", "https://hooks.slack.com/*"),
    ],
)
def test_credentials_in_texts(text: str, clean: str) -> None:
    assert redact_text(text) == clean.replace("*", REDACTED)
    assert redact_text(redact_text(text)) == redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "api_key: Input should be a valid string",
        "LLM.providers.openai.api_key: takes a secret reference such as $secret:OPENAI_API_KEY",
        "token: $secret:API_KEY and password=$vault:kv/db#password@3",
        "Bearer authentication is required; basic information",
        "password=None, has_password=true, max_tokens=500, author=jane9",
        "ssh://git@github.com/x and mail to someone@example.com",
        "https://example.com/a@b?c=d:e@f",
        "order 4111111111111112, at 1700000000000, ratio 0.4111111111111111, call +4915123456789",
        "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "the desk-lamp-with-a-very-long-name and risk_level",
        "keyboard: 7, monkey=2, tokens: 12",
        "eyJust a word",
        "arn:aws:secretsmanager:eu-west-1:1:secret:shop/stripe-Xy12",
    ],
)
def test_texts_that_stay_readable(text: str) -> None:
    assert redact_text(text) == text


@unhurried
@given(st.text("pwd:=\\'\"{[}] @/-.5_BEGIN\nsecretbar", max_size=200))
def test_redaction_is_idempotent_and_never_raises(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


@pytest.mark.parametrize(
    "part",
    ["password=\\\\\"", "a-", "://", "://a", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "eyJa.", "password:", "<a ",
     "4111 ", "token=(", "Bearer ", "sk-", "password='", "@", "Cookie: a=\"", "\\", "key",
     "eyJ-", "eyJaaaaa.-eyJ", "key=a.", "password=[x\n", 'password=["x\n', 'password=[ "password=[x"\n', "pwd=[\"'\n",
     "password='[\n", 'token=[ "\npwd=[ \'\n', "pwd=[]]\n", " password={\n", "<password><![CDATA[x", "<a><![CDATA["],
)  # fmt: skip
def test_hostile_texts_take_linear_time(part: str) -> None:
    def steps(size: int) -> int:
        """Count the lines of Python that run: the regular expressions are bounded by construction."""
        count = 0

        def trace(frame: Any, event: str, arg: Any) -> Any:
            nonlocal count
            count += 1
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            redact_text(part * size)
        finally:
            sys.settrace(before)
        return count

    assert steps(400) <= 2.5 * steps(200) + 200
    redact_text(part * 100_000)


# -- structures -------------------------------------------------------------------------------------------------------


def test_nothing_is_changed_in_place() -> None:
    data = {"password": "x", "list": [{"token": "y"}], "text": "password=z", "set": {"a"}, "bytes": bytearray(b"pwd=1")}
    before = copy.deepcopy(data)
    clean = redact(data)
    assert data == before
    assert clean == {
        "password": REDACTED, "list": [{"token": REDACTED}], "text": f"password={REDACTED}", "set": {"a"},
        "bytes": b"pwd=[REDACTED]",
    }  # fmt: skip


def test_references_and_what_says_nothing_stay_under_secret_names() -> None:
    data = {
        "api_key": "$secret:API_KEY",
        "password": None,
        "token": "",
        "secret": True,
        "credentials": {"user": "$env:USER_NAME", "key": "$vault:kv/app#key@2"},
        "secrets": ["$secret:A"],
    }
    assert redact(data) == data
    assert redact({"api_key": "$secret:not a name", "secrets": ["$secret:A", "b"]}) == {
        "api_key": REDACTED,
        "secrets": REDACTED,
    }


def test_pairs_and_named_values_as_headers_come() -> None:
    headers = [("Authorization", "abc"), (b"x-api-key", b"abc"), ["Cookie", "a=b"], ("Accept", "*/*")]
    assert redact(headers) == [
        ("Authorization", REDACTED), (b"x-api-key", REDACTED), ["Cookie", REDACTED], ("Accept", "*/*"),
    ]  # fmt: skip
    assert redact([{"name": "DB_PASSWORD", "value": "x"}, {"name": "HOME", "value": "y"}]) == [
        {"name": "DB_PASSWORD", "value": REDACTED},
        {"name": "HOME", "value": "y"},
    ]
    assert redact(["password", "email"]) == ["password", "email"]


@pytest.mark.parametrize("text", ["password the live secret", "token=the live secret", "Cookie: the live secret"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: (text, "x"),
        lambda text: [[text, "x"]],
        lambda text: {"lines": [["a", "b"], [text, "x"]]},
        lambda text: (text.encode(), b"x"),
        lambda text: {(text, "x")},
        lambda text: {(text, "x"): 1},
        lambda text: deque([[text, "x"]]),
        lambda text: Holder((text, "x")),
        lambda text: ValueError((text, "x")),
        lambda text: [("password", (text, "x"))],
    ],
)
def test_a_text_that_tells_of_a_secret_is_no_name_of_one(text: str, wrap: Callable[[str], Any]) -> None:
    remember("the live secret")
    try:
        assert "live" not in repr(redact(wrap(text)))
    finally:
        forget("the live secret")


def test_what_stands_beside_a_text_that_is_no_name_stays() -> None:
    assert redact([["login failed: password=hunter2", "second line"], ("the password is wrong", 401)]) == [
        [f"login failed: password={REDACTED}", "second line"], ("the password is wrong", 401),
    ]  # fmt: skip


def test_a_secret_that_is_the_name_of_a_secret_is_hidden() -> None:
    remember("my-secret-password")
    try:
        assert redact([("my-secret-password", "x"), {"password": {"my-secret-password": "$secret:A"}}]) == [
            (REDACTED, "x"), {"password": {REDACTED: "$secret:A"}},
        ]  # fmt: skip
        assert filtered("x", password={"my-secret-password": "$secret:A"}).__dict__["password"] == {
            REDACTED: "$secret:A"
        }
    finally:
        forget("my-secret-password")


@pytest.mark.parametrize("value", ["Value", "value"])
@pytest.mark.parametrize("name", ["Key", "key", "Name", "name"])
def test_tags_as_clouds_have_them(name: str, value: str) -> None:
    tags = [{name: "DB_PASSWORD", value: "hunter2"}, {name: "stage", value: "live"}]
    clean = [{name: "DB_PASSWORD", value: REDACTED}, {name: "stage", value: "live"}]
    assert redact(tags) == clean
    assert redact(tuple(tags)) == tuple(clean)


def test_objects() -> None:
    class Shows:
        def __redacted__(self) -> str:
            return "what may be shown"

    class Fails:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    @dataclasses.dataclass(frozen=True)
    class Login:
        user: str
        password: str

    assert redact(Login("u", "p")) == {"user": "u", "password": REDACTED}
    assert redact(Pair("pwd=1", 2)) == Pair(f"pwd={REDACTED}", 2)
    assert redact(SecretStr("x")) == REDACTED
    assert redact([Shows(), Fails()]) == ["what may be shown", REDACTED]
    assert redact({"password": Shows()}) == {"password": "what may be shown"}
    assert redact({Login("u", "p"): 1}) == {"{'user': 'u', 'password': '[REDACTED]'}": 1}


def test_keys_that_become_equal_keep_their_values() -> None:
    first, second = "open sesame", "speak friend and enter"
    remember(first)
    remember(second)
    try:
        assert redact({first: 1, second: 2}) == {REDACTED: 1, f"{REDACTED}#2": 2}
    finally:
        forget(first)
        forget(second)


def test_cycles_and_depth_are_bounded() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = [loop]
    assert redact(loop) == {"self": ["[CYCLE]"]}
    shared = {"a": 1}
    assert redact([shared, shared]) == [shared, shared]
    deep: Any = "the bottom"
    for _ in range(5000):
        deep = [deep]
    clean = redact(deep)
    for _ in range(100):
        clean = clean[0]
    assert clean == REDACTED


def test_exceptions_with_their_causes() -> None:
    error = TransientError("password=hunter2", context={"token": "x", "id": 7})
    error.__cause__ = KeyError("pwd=1")
    error.add_note("api_key=2")
    assert redact(error) == {
        "type": "TransientError",
        "message": f"password={REDACTED}",
        "code": "transient",
        "context": {"token": REDACTED, "id": 7},
        "notes": [f"api_key={REDACTED}"],
        "cause": {"type": "KeyError", "message": f"'pwd={REDACTED}'"},
    }
    assert str(AutomateError("https://u:p@host")) == f"https://{REDACTED}@host"


# -- logging ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s %(headers)s", defaults={"headers": ""}))
    handler.addFilter(RedactingFilter())
    logger = logging.getLogger("test.redaction")
    logger.addHandler(handler)
    logger.propagate = False
    remember("the live secret")
    yield logger, stream
    forget("the live secret")
    logger.removeHandler(handler)


def test_a_log_line_hides_message_arguments_extra_and_exception(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    try:
        try:
            raise KeyError("the live secret")
        except KeyError as error:
            raise RuntimeError({"password": "hunter2"}) from error
    except RuntimeError:
        logger.exception(
            "sent %s with %d and %s", {"token": "abc"}, 3, "the live secret",
            extra={"headers": {"Cookie": "chocolate"}}, stack_info=True,
        )  # fmt: skip
    text = stream.getvalue()
    for secret in ("abc", "the live secret", "hunter2", "chocolate"):
        assert text.count(secret) == sum(line.count(secret) for line in text.splitlines() if _is_source(line))
    assert f"sent {{'token': '{REDACTED}'}} with 3 and {REDACTED}" in text
    assert "KeyError" in text
    assert "RuntimeError" in text


def _is_source(line: str) -> bool:
    """Lines of this file, which a traceback quotes, name what they hide; a live value is hidden even there."""
    return "password" not in line and line.startswith("    ") and "the live secret" not in line


def test_formatters_that_read_the_exception_see_a_stand_in() -> None:
    try:
        raise PermissionError("password=hunter2")
    except PermissionError:
        record = logging.makeLogRecord({"msg": "x", "exc_info": sys.exc_info()})
    RedactingFilter().filter(record)
    assert isinstance(record.exc_info, tuple)
    kind, error, trace = record.exc_info
    assert kind is type(error)
    assert (kind.__name__ if kind else "", str(error)) == ("PermissionError", f"password={REDACTED}")
    assert trace is not None
    assert "hunter2" not in logging.Formatter().formatException(record.exc_info).replace('"password=hunter2"', "")


def test_wrong_arguments_stay_loggings_own_error_without_the_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(RedactingFilter())
    handler.handle(logging.LogRecord("test", logging.WARNING, "x.py", 1, "%d items", ({"password": "hunter2"},), None))
    assert handler.stream.getvalue() == ""
    shown = capsys.readouterr().err
    assert "--- Logging error ---" in shown
    assert f"Arguments: {{'password': '{REDACTED}'}}" in shown


def test_wrong_arguments_that_are_plain_texts_are_hidden_too(
    log: tuple[logging.Logger, io.StringIO], capsys: pytest.CaptureFixture[str]
) -> None:
    handler = log[0].handlers[0]
    for message in ("nothing to fill in", "%d items", "%s and %s"):
        handler.handle(logging.LogRecord("test", logging.WARNING, "x.py", 1, message, ("the live secret",), None))
        assert f"Arguments: ('{REDACTED}',)" in capsys.readouterr().err


def test_wrong_arguments_that_look_like_a_pair_are_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(RedactingFilter())
    arguments = ("token=hunter2", "x")
    handler.handle(logging.LogRecord("test", logging.WARNING, "x.py", 1, "%d %d", arguments, None))
    assert f"Arguments: ('token={REDACTED}', 'x')" in capsys.readouterr().err


def filtered(message: Any, *args: Any, **extra: Any) -> logging.LogRecord:
    record = logging.LogRecord("test", logging.WARNING, "x.py", 1, message, args, None)
    record.__dict__.update(extra)
    RedactingFilter().filter(record)
    return record


def test_arguments_stay_for_formatters_that_read_them() -> None:
    error = ConnectionError("lost")
    record = filtered('%s - "%s %s" %d %s', "10.0.0.1", "GET", "/?token=abc", 200, error)
    assert record.args == ("10.0.0.1", "GET", f"/?token={REDACTED}", 200, error)
    assert record.getMessage() == f'10.0.0.1 - "GET /?token={REDACTED}" 200 lost'


@pytest.mark.parametrize(
    ("message", "args", "text"),
    [
        ("password=%s, %s", ("hunter2", "there"), f"password={REDACTED}, there"),
        ("the live %s of %s", ("secret", "mine"), f"{REDACTED} of mine"),
        ("the number %d", (48151623,), None),
        ("100%% of %s", ("the live secret",), f"100% of {REDACTED}"),
        ("got %r", (ValueError("password=hunter2"),), f"got ValueError('password={REDACTED}')"),
    ],
)
def test_a_secret_of_message_and_arguments_together_is_hidden(
    log: tuple[logging.Logger, io.StringIO], message: str, args: tuple[Any, ...], text: str | None
) -> None:
    remember("48151623")
    try:
        record = filtered(message, *args)
    finally:
        forget("48151623")
    assert record.getMessage() == (text or f"the number {REDACTED}")
    assert not any(secret in repr(record.args) for secret in ("hunter2", "live secret", "48151623"))


@pytest.mark.parametrize(
    ("message", "args", "text"),
    [
        ("sent %.12s", ("the live secret",), "sent [REDACTED]"),
        ("sent %.12s to %s", ("the live secret", "x"), "sent [REDACTED] to x"),
        ("sent %-20s| %.8r", ("the live secret", "x"), "sent [REDACTED]          | 'x'"),
        ("%d, %.12s, 100%%d", (48151623, "the live secret"), "[REDACTED], [REDACTED], 100%d"),
        ("%05d, %.2f, %.12s", (7, 48151623.5, "the live secret"), "7, [REDACTED], [REDACTED]"),
        ("password=%s, %.12s", ("hunter2", "the live secret"), "password=[REDACTED], [REDACTED]"),
        ("%(a).12s %(b)d", ({"a": "the live secret", "b": 48151623},), "[REDACTED] [REDACTED]"),
    ],
)
def test_what_a_precision_leaves_of_a_secret_is_hidden(
    log: tuple[logging.Logger, io.StringIO], message: str, args: tuple[Any, ...], text: str
) -> None:
    for number in ("48151623", "48151623.5"):
        remember(number)
    try:
        record = filtered(message, *args)
    finally:
        for number in ("48151623", "48151623.5"):
            forget(number)
    assert record.getMessage() == text
    assert "live" not in repr(record.args)


class _Atoms(dict[str, str]):
    """As servers have them for their access logs."""

    def __missing__(self, key: str) -> str:
        return "-"


def test_a_mapping_of_arguments_keeps_its_type() -> None:
    atoms = _Atoms(h="10.0.0.1", password="hunter2")
    record = filtered("%(h)s %(password)s %({x-forwarded-for}i)s", atoms)
    assert record.getMessage() == f"10.0.0.1 {REDACTED} -"
    assert isinstance(record.args, _Atoms)
    assert atoms["password"] == "hunter2"


def test_a_message_that_is_a_mapping_stays_one() -> None:
    record = filtered({"event": "paid", "api_key": "abc", "to": _Atoms(a="b")})
    assert record.msg == {"event": "paid", "api_key": REDACTED, "to": {"a": "b"}}
    assert type(filtered(_Atoms(a="password=1")).msg) is _Atoms


def test_objects_in_extra_stay_where_their_text_holds_no_secret() -> None:
    class Request:
        def __init__(self, path: str) -> None:
            self.path = path

        def __str__(self) -> str:
            return f"<Request {self.path}>"

    plain, telling = Request("/"), Request("/?token=abc")
    record = filtered("x", request=plain, other=telling, error=ValueError("token=abc"), password=plain)
    assert record.__dict__["request"] is plain
    assert record.__dict__["other"] == f"<Request /?token={REDACTED}>"
    assert record.__dict__["error"] == {"type": "ValueError", "message": f"token={REDACTED}"}
    assert record.__dict__["password"] == REDACTED


def test_names_of_threads_are_redacted(log: tuple[logging.Logger, io.StringIO]) -> None:
    record = filtered("x", threadName="for the live secret", taskName="the live secret")
    assert (record.threadName, record.__dict__["taskName"]) == (f"for {REDACTED}", REDACTED)


class _Mute:
    """Fails whatever is asked of it."""

    def __str__(self) -> str:
        raise RuntimeError("the live secret")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("the live secret")

    def __hash__(self) -> int:
        raise RuntimeError("the live secret")

    @property
    def __redacted__(self) -> str:
        raise RuntimeError("the live secret")


class _MuteError(_Mute, Exception):
    """An error that cannot be shown."""


def test_objects_that_fail_do_not_fail_whoever_logs_them(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.warning(_Mute())
    logger.warning("got %s", _Mute(), extra={"headers": _Mute(), "password": _Mute()})
    try:
        raise _MuteError
    except _MuteError:
        logger.exception("failed")
    assert redact({"name": "x", "error": _MuteError()}) == {"name": "x", "error": REDACTED}
    lines = stream.getvalue().splitlines()
    assert lines[:3] == [f"WARNING {REDACTED} ", f"WARNING got {REDACTED} {REDACTED}", "ERROR failed "]
    assert "the live secret" not in stream.getvalue()


def test_the_prefilter_knows_every_name() -> None:
    """A text is searched for names only if it holds a stem: each name must hold one."""
    for name in (*SECRET_NAMES, *keys._WORDS, *keys._ENDINGS, *keys._SECRET):
        assert keys.may_hold_secret_key(name.lower()), name
    for name in keys._RUNS:
        assert keys.may_hold_secret_key(name), name
