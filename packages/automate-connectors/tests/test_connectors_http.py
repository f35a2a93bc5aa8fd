"""``http.request`` over a real loopback server."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from automate_connectors.http import HTTP
from automate_core.connectors import ActionContext
from automate_core.errors import (
    ConfigurationError,
    InvalidInputError,
    PermanentError,
    RateLimited,
    SSRFBlocked,
    TransientError,
)
from automate_core.secrets import SecretValue
from automate_core.testing.connectors import ConnectorContract

SECRET = "sk-live-1234567890"  # gitleaks:allow - not a credential of anything


class TestHTTPContract(ConnectorContract):
    connector = HTTP
    secrets = (SECRET,)

    @pytest.fixture(autouse=True)
    def _over_a_server(self, server: Any) -> None:
        server.routes["/v1/x"] = server.answer(body={"id": 1}, headers={"Set-Cookie": SECRET})
        self.config = {"base_url": f"{server.url}/v1", "headers": {"Authorization": f"Bearer {SECRET}"}}
        self.inputs = {"request": {"method": "POST", "url": "/x", "json": {"a": 1}}}


def call(data: dict[str, Any], config: dict[str, Any] | None = None, **ctx: Any) -> Any:
    return HTTP(config=config, ctx=ActionContext(**ctx)).call("request", data)


def test_the_answer_is_returned_without_what_is_private_or_changes(server: Any) -> None:
    server.routes["/"] = server.answer(
        201, {"id": 7, "name": "ü"}, headers={"X-Total": "9", "Set-Cookie": "a=b", "WWW-Authenticate": "Basic"}
    )
    output = call({"url": server.url, "params": {"q": ["a", 1]}})
    assert output.pop("headers").items() >= {"x-total": "9", "content-type": "application/json"}.items()
    assert output == {
        "status": 201, "url": f"{server.url}/?q=a&q=1", "json": {"id": 7, "name": "ü"}, "body": None,
        "body_base64": None, "redirects": [],
    }  # fmt: skip
    assert call({"url": server.url, "method": "get"}) == call({"url": server.url})
    assert not {"set-cookie", "date", "www-authenticate", "content-length"} & set(call({"url": server.url})["headers"])


def test_secrets_go_out_wherever_they_stand_and_are_shown_nowhere(server: Any) -> None:
    server.routes["/a"] = server.answer(body={})
    secret, number = SecretValue(SECRET), SecretValue("12345")
    headers = {"Authorization": "Bearer " + secret, "X-Number": number}
    config = {"base_url": server.url, "headers": {"X-Api-Key": secret}}
    call({"url": "/a", "method": "POST", "headers": headers, "params": {"n": number}, "json": {"k": [secret]}}, config)
    call({"url": server.url + "/a", "method": "POST", "form": {"k": secret, "n": number}})
    first, second = server.requests
    sent = [first.headers[name] for name in ("authorization", "x-number", "x-api-key")]
    assert sent == [f"Bearer {SECRET}", "12345", SECRET]
    assert (first.path, first.json) == ("/a?n=12345", {"k": [SECRET]})
    assert second.body == f"k={SECRET}&n=12345".encode()
    with pytest.raises(InvalidInputError, match="x-broken holds a control character") as refused:
        call({"url": server.url, "headers": {"X-Broken": secret + "\n"}})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("content_type", "sent", "expected"),
    [
        ("application/problem+json; charset=utf-8", b'{"a": null}', {"json": {"a": None}}),
        ("text/plain", "grüße".encode(), {"body": "grüße"}),
        ("text/plain; charset=latin-1", "grüße".encode("latin-1"), {"body": "grüße"}),
        ("application/json", b"{oops", {"body": "{oops"}),
        ("application/json", b"[NaN]", {"body": "[NaN]"}),
        ("application/jsonp", b"1", {"body": "1"}),
        ("text/plain; charset=none-such", b"abc", {"body_base64": "YWJj"}),
        ("image/png", b"\x89PNG", {"body_base64": "iVBORw=="}),
        ("text/plain", b"a\x00b", {"body_base64": "YQBi"}),
        ("text/plain", b"", {"body": ""}),
    ],
)
def test_a_body_is_json_or_text_or_base64(
    content_type: str, sent: bytes, expected: dict[str, Any], server: Any
) -> None:
    server.routes["/"] = server.answer(body=sent, headers={"Content-Type": content_type})
    output = call({"url": server.url})
    assert {name: output[name] for name in ("json", "body", "body_base64")} == {
        "json": None, "body": None, "body_base64": None, **expected
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "content_type", "received"),
    [
        ({"json": {"a": [1, None]}}, "application/json", b'{"a": [1, null]}'),
        ({"form": {"a": ["x y", 2], "b": True, "c": None}}, "application/x-www-form-urlencoded", b"a=x+y&a=2&b=true"),
        ({"body": "<a/>", "headers": {"content-type": "text/xml"}}, "text/xml", b"<a/>"),
    ],
)
def test_bodies_are_sent(sent: dict[str, Any], content_type: str, received: bytes, server: Any) -> None:
    server.routes["/"] = server.answer()
    call({"url": server.url, "method": "POST", **sent})
    assert (server.requests[0].headers["content-type"], server.requests[0].body) == (content_type, received)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
def test_unsafe_methods_carry_the_idempotency_key(method: str, server: Any) -> None:
    server.routes["/"] = server.answer()
    call({"url": server.url, "method": method}, idempotency_key="run-1:step")
    call({"url": server.url, "method": method, "headers": {"IDEMPOTENCY-KEY": "mine"}}, idempotency_key="run-1:step")
    call({"url": server.url, "method": method})
    keys = [request.headers.get("idempotency-key") for request in server.requests]
    assert keys == [None if method in ("GET", "HEAD", "OPTIONS") else "run-1:step", "mine", None]


def test_statuses_become_errors_or_outputs(server: Any) -> None:
    for status in (404, 408, 429, 503):
        server.routes[f"/{status}"] = server.answer(status, {"why": status}, headers={"Retry-After": "12"})
    with pytest.raises(PermanentError, match="answered 404"):
        call({"url": f"{server.url}/404"})
    with pytest.raises(RateLimited) as limited:
        call({"url": f"{server.url}/429"})
    assert (limited.value.retry_after, limited.value.retryable) == (12, True)
    for status in (408, 503):
        with pytest.raises(TransientError):
            call({"url": f"{server.url}/{status}"})
    output = call({"url": f"{server.url}/503", "raise_for_status": False})
    assert (output["status"], output["json"]) == (503, {"why": 503})


def test_a_call_takes_no_longer_than_the_step_has(server: Any) -> None:
    release = threading.Event()
    server.routes["/"] = lambda request: server.answer(body=str(release.wait(10)).encode())
    with pytest.raises(TransientError, match="did not answer in time"):
        call({"url": server.url, "timeout": 30}, deadline=time.monotonic() + 0.2)
    with pytest.raises(TransientError, match="did not answer in time"):
        call({"url": server.url, "timeout": 0.2})
    release.set()
    sent = len(server.requests)
    cancelled = threading.Event()
    cancelled.set()
    for late in ({"deadline": time.monotonic() - 1}, {"cancelled": cancelled}):
        with pytest.raises(TransientError, match="no time left"):
            call({"url": server.url}, **late)
    assert len(server.requests) == sent


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "http://169.254.169.254/latest", "ftp://a/", "/relative", "a b"]
)
def test_the_policy_is_asked(url: str) -> None:
    with pytest.raises(SSRFBlocked):
        call({"url": url})


def test_a_connection_has_a_base_and_headers(server: Any) -> None:
    server.routes["/v1/things"] = server.routes["/v1/"] = server.answer(body=b"ok")
    config = {"base_url": f"{server.url}/v1/", "headers": {"Authorization": "Bearer t", "Accept": "a/b"}}
    for url in ("/things", "things", "//things", f"{server.url}/v1/things", "/things?next=../x"):
        assert call({"url": url, "headers": {"accept": "c/d"}}, config)["body"] == "ok"
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer t"}
    assert {request.headers["accept"] for request in server.requests} == {"c/d"}


@pytest.mark.parametrize(
    "url",
    ["http://evil.example/", "https://127.0.0.1/", "HTTP://evil.example", "../admin", "/x/../../admin", "/%2e%2e/admin",
     "/..%2Fadmin", "..\\admin", "/x/..;/admin", "..;a=b/admin"],
)  # fmt: skip
def test_credentials_of_a_connection_stay_with_its_base(url: str, server: Any) -> None:
    config = {"base_url": f"{server.url}/v1", "headers": {"Authorization": "Bearer t"}}
    with pytest.raises(InvalidInputError, match="base_url"):
        call({"url": url}, config)
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["@evil.example", ".evil.example", ":80@evil.example/", "?@evil.example", "#@evil.example"]
)
def test_a_relative_url_cannot_become_part_of_the_host(url: str, server: Any) -> None:
    with pytest.raises(PermanentError, match=f"{server.url} answered 404"):
        call({"url": url}, {"base_url": server.url, "headers": {"Authorization": "Bearer t"}})
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "config",
    [{"base_uri": "x"}, {"headers": {"Authorization": SECRET}}, {"base_url": 1}, {...}, [SECRET], {"headers": SECRET}],
)
def test_wrong_settings_are_named_when_they_are_needed(config: Any) -> None:
    connector = HTTP(config=config)
    with pytest.raises(ConfigurationError, match="http") as caught:
        connector.call("request", {"url": "http://127.0.0.1/"})
    assert SECRET not in str(caught.value) + json.dumps(caught.value.context)


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({}, "/url"), ({"url": ""}, "/url"), ({"url": 1}, "/url"), ({"url": "x", "method": "TRACE"}, "/method"),
        ({"url": "x", "timeout": 0}, "/timeout"), ({"url": "x", "headers": {"a": 1}}, "/headers/a"),
        ({"url": "x", "jsn": 1}, "/jsn"), ({"url": "x", "json": 1, "body": "x"}, ""),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_with_its_place(data: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        call(data)
    assert caught.value.context["pointer"] == pointer
