"""``slack.post_message`` against a loopback server that answers as Slack documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from automate_connectors.slack import Slack
from automate_core.errors import (
    AutomateError,
    ConfigurationError,
    InvalidInputError,
    PermanentError,
    RateLimited,
    TransientError,
)
from automate_core.secrets import SecretValue
from automate_core.testing.connectors import ConnectorContract

TOKEN = "xoxb-not-a-real-token"


@pytest.fixture
def slack(server: Any) -> Any:
    """A server whose /api/chat.postMessage checks what Slack checks."""

    def post_message(request: Any) -> Any:
        if request.headers.get("authorization") not in (f"Bearer {TOKEN}", "Bearer xoxb-other"):
            return server.answer(body={"ok": False, "error": "invalid_auth"})
        return server.answer(body={"ok": True, "channel": "C1", "ts": "1.2", "message": {"text": request.json["text"]}})

    server.routes["/api/chat.postMessage"] = post_message
    return server


class TestSlackContract(ConnectorContract):
    connector = Slack
    secrets = (TOKEN,)
    inputs: Mapping[str, Any] = {"post_message": {"channel": "#sales", "text": "hello"}}

    @pytest.fixture(autouse=True)
    def _over_a_server(self, slack: Any) -> None:
        self.config = {"token": TOKEN, "base_url": f"{slack.url}/api"}


def post(slack: Any, configured: str = TOKEN, **data: Any) -> Any:
    config = {"token": configured, "base_url": f"{slack.url}/api/"}
    return Slack(config=config).call("post_message", {"channel": "#sales", "text": "hi", **data})


def test_a_message_is_posted(slack: Any) -> None:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*hi*"}}]
    assert post(slack, text="grüße", blocks=blocks, thread_ts="1.1") == {"channel": "C1", "ts": "1.2"}
    (request,) = slack.requests
    assert request.json == {"channel": "#sales", "text": "grüße", "blocks": blocks, "thread_ts": "1.1"}
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert (request.method, request.headers["authorization"]) == ("POST", f"Bearer {TOKEN}")


def test_a_token_of_the_input_goes_first_and_none_is_an_error(slack: Any) -> None:
    post(slack, token=SecretValue("xoxb-other"))
    assert slack.requests[0].headers["authorization"] == "Bearer xoxb-other"
    assert "token" not in slack.requests[0].json
    with pytest.raises(ConfigurationError, match="no token"):
        post(slack, configured="")
    assert len(slack.requests) == 1


def test_a_token_is_a_secret_and_a_text_is_none(slack: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"/token: .*not the secret itself"):
        post(slack, token="xoxb-other")
    assert not slack.requests
    config = {"token": SecretValue(TOKEN), "base_url": SecretValue(f"{slack.url}/api/")}
    assert Slack(config=config).call("post_message", {"channel": "#sales", "text": "hi"})["ts"] == "1.2"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("invalid_auth", PermanentError), ("channel_not_found", PermanentError), ("msg_too_long", PermanentError),
        ("account_inactive", PermanentError), ("a_name_of_tomorrow", PermanentError), ("ratelimited", RateLimited),
        ("rate_limited", RateLimited), ("internal_error", TransientError), ("fatal_error", TransientError),
        ("service_unavailable", TransientError), ("request_timeout", TransientError),
    ],
)  # fmt: skip
def test_what_slack_calls_an_error_is_mapped(name: str, kind: type[AutomateError], server: Any) -> None:
    body = {"ok": False, "error": name}
    server.routes["/api/chat.postMessage"] = server.answer(body=body, headers={"Retry-After": "30"})
    with pytest.raises(kind, match=name) as caught:
        post(server)
    assert type(caught.value) is kind
    assert caught.value.context == {"slack_error": name}
    assert caught.value.retry_after == (30 if kind is RateLimited else None)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": 429, "headers": {"Retry-After": "30"}}, RateLimited),
        ({"status": 503}, TransientError),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, PermanentError),
        ({"body": b"<html>"}, PermanentError),
        ({"body": [1]}, PermanentError),
        ({"body": {"ok": "true"}}, PermanentError),
    ],
)
def test_any_other_answer_is_typed(answer: dict[str, Any], kind: type[AutomateError], server: Any) -> None:
    server.routes["/api/chat.postMessage"] = server.answer(**answer)
    with pytest.raises(kind) as caught:
        post(server)
    assert type(caught.value) is kind
    assert TOKEN not in str(caught.value)
    assert len(server.requests) == 1


def test_a_wrong_token_says_so(slack: Any) -> None:
    with pytest.raises(PermanentError, match="invalid_auth"):
        post(slack, configured="xoxb-wrong")


@pytest.mark.parametrize(
    "data", [{"channel": ""}, {"text": ""}, {"blocks": "x"}, {"emoji": ":x:"}, {"text": "x" * 40_001}]
)
def test_wrong_input_is_refused_before_the_call(data: dict[str, Any], slack: Any) -> None:
    with pytest.raises(InvalidInputError):
        post(slack, **data)
    assert slack.requests == []
