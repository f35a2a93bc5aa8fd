"""The two providers over the real SDKs and real HTTP: against an independent server, and against failures."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from automate_core import settings
from automate_core.errors import ContextTooLong, LLMError, ProviderUnavailable, SecretNotFoundError
from automate_core.llm import ChatResult, LLMProvider, Usage
from automate_core.settings import ProviderSettings
from automate_core.testing.llm import LLMProviderContract
from automate_llm.providers._sdk import SDKProvider
from automate_llm.providers.anthropic import AnthropicProvider
from automate_llm.providers.openai import OpenAIProvider
from llm_server import Answer, LoopbackLLM, MockAI, anthropic_message, openai_completion

HELLO = [{"role": "user", "content": "Hello!"}]
BOTH = pytest.mark.parametrize("name", ["openai", "anthropic"])
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


def refused_url() -> str:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


_open: list[SDKProvider] = []


@pytest.fixture(autouse=True)
def _close_what_was_opened() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


def opened(kind: type[SDKProvider], url: str) -> LLMProvider:
    _open.append(kind(ProviderSettings(base_url=url)))
    return _open[-1]


class TestOpenAIAgainstMockAI(LLMProviderContract):
    supports_unavailable = True

    @pytest.fixture(autouse=True)
    def _server(self, mock_ai: MockAI) -> None:
        self.url = mock_ai.openai_url

    def make_provider(self) -> LLMProvider:
        return opened(OpenAIProvider, self.url)

    def make_unavailable(self) -> LLMProvider:
        return opened(OpenAIProvider, refused_url())


class TestAnthropicAgainstMockAI(LLMProviderContract):
    supports_unavailable = True

    @pytest.fixture(autouse=True)
    def _server(self, mock_ai: MockAI) -> None:
        self.url = mock_ai.anthropic_url

    def make_provider(self) -> LLMProvider:
        return opened(AnthropicProvider, self.url)

    def make_unavailable(self) -> LLMProvider:
        return opened(AnthropicProvider, refused_url())


def make(name: str, server: LoopbackLLM) -> LLMProvider:
    if name == "openai":
        return opened(OpenAIProvider, f"{server.address}/v1")
    return opened(AnthropicProvider, server.address)


def call(provider: LLMProvider, way: str, **kwargs: Any) -> ChatResult:
    request = provider.request(HELLO, **kwargs)
    return provider.complete(request) if way == "sync" else asyncio.run(provider.acomplete(request))


def fail(provider: LLMProvider, way: str, **kwargs: Any) -> LLMError:
    with pytest.raises(LLMError) as caught:
        call(provider, way, **kwargs)
    return caught.value


def test_openai_sends_what_was_asked(loopback: LoopbackLLM) -> None:
    provider = make("openai", loopback)
    provider.chat(
        [{"role": "system", "content": "Be short."}, *HELLO], temperature=0.9, max_tokens=100, stop="END", seed=7
    )
    (request,) = loopback.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["authorization"] == "Bearer test-openai-key-0123456789"
    assert request["body"] == {
        "model": "gpt-5.4-mini",
        "messages": [{"role": "system", "content": "Be short."}, *HELLO],
        "max_completion_tokens": 100,
        "temperature": 0.9,
        "stop": ["END"],
        "seed": 7,
    }


def test_anthropic_maps_system_and_stop_and_drops_temperature(loopback: LoopbackLLM) -> None:
    turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hi!"}, *HELLO]
    said = [
        {"role": "system", "content": "Be short."},
        *turns[:2],
        {"role": "developer", "content": "Be kind."},
        *HELLO,
    ]
    make("anthropic", loopback).chat(said, temperature=0.9, max_tokens=100, stop=["END"])
    (request,) = loopback.requests
    assert request["path"] == "/v1/messages"
    assert request["headers"]["authorization"] == "Bearer test-anthropic-key-0123456789"
    assert request["body"] == {
        "model": "claude-haiku-4-5",
        "system": "Be short.\n\nBe kind.",
        "messages": turns,
        "max_tokens": 100,
        "stop_sequences": ["END"],
    }


def test_anthropic_without_a_turn_is_refused_before_it_is_sent(loopback: LoopbackLLM) -> None:
    with pytest.raises(LLMError, match="user") as caught:
        make("anthropic", loopback).chat([{"role": "system", "content": "Be short."}])
    assert caught.value.context["billed"] is False
    assert not loopback.requests


def test_a_model_near_its_end_is_logged_once_and_no_warning(
    loopback: LoopbackLLM, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "automate.llm"):
        for way in ("sync", "async", "sync"):
            call(make("anthropic", loopback), way, model="claude-sonnet-4-5")
    assert [r["body"]["model"] for r in loopback.requests] == ["claude-sonnet-4-5"] * 3
    assert [r.message for r in caplog.records].count(
        "Anthropic ends the model claude-sonnet-4-5 on November 30th, 2026; choose another one"
    ) == 1


@pytest.mark.parametrize(
    ("name", "body", "text", "reason"),
    [
        ("openai", openai_completion(None, "m", refusal="I cannot."), "I cannot.", "refusal"),
        ("openai", openai_completion(None, "m"), "", "stop"),
        ("anthropic", anthropic_message("Half", "m", "max_tokens"), "Half", "length"),
        ("anthropic", anthropic_message("", "m", "refusal"), "", "refusal"),
    ],
)
def test_endings_are_named_alike(loopback: LoopbackLLM, name: str, body: Any, text: str, reason: str) -> None:
    loopback.answers.append(Answer(200, body))
    result = call(make(name, loopback), "sync")
    assert (result.text, result.finish_reason) == (text, reason)
    assert result.usage == Usage(9, 3), "what Anthropic counts apart for its cache is input too"


@BOTH
@WAYS
@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After-Ms": "1500"}, 1.5, 1.5),
        ({"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=4000))}, 3000, 4000),
        ({"Retry-After": "1e999"}, None, None),
        ({"Retry-After": "soon"}, None, None),
        ({}, None, None),
    ],
)
def test_429_is_retryable_and_says_when(
    loopback: LoopbackLLM, name: str, way: str, headers: dict[str, str], low: float | None, high: float | None
) -> None:
    loopback.answers.append(Answer(429, {"error": {"message": "Slow down."}}, headers=headers))
    error = fail(make(name, loopback), way)
    assert isinstance(error, ProviderUnavailable)
    assert error.retryable
    assert error.context["billed"] is False
    if low is None or high is None:
        assert error.retry_after is None
    else:
        assert error.retry_after is not None
        assert low <= error.retry_after <= high
    assert len(loopback.requests) == 1, "the SDK's own retries must be off"


@BOTH
@WAYS
@pytest.mark.parametrize(
    ("answer", "kind", "billed"),
    [
        (Answer(500, {"error": {"message": "Oops."}}), ProviderUnavailable, False),
        (Answer(529, {"error": {"message": "Overloaded."}}), ProviderUnavailable, False),
        (Answer(504, b"<html>gateway</html>", headers={"Content-Type": "text/html"}), ProviderUnavailable, None),
        (Answer(200, b"{", headers={"Content-Type": "application/json"}), ProviderUnavailable, None),
        (Answer(200, b"<html>", headers={"Content-Type": "text/html"}), ProviderUnavailable, None),
        (Answer(200, {"choices": [], "content": None}), ProviderUnavailable, None),
        (Answer(drop=True), ProviderUnavailable, None),
        (Answer(404, {"error": {"message": "No such model."}}), LLMError, False),
        (Answer(307, {}, headers={"Location": "http://127.0.0.1:9/elsewhere"}), LLMError, False),
        (Answer(429, {"error": {"code": "insufficient_quota", "message": "Pay."}}), LLMError, False),
        (Answer(413, {"error": {"message": "Too large."}}), ContextTooLong, False),
    ],
)
def test_failures_become_errors_of_the_tree(
    loopback: LoopbackLLM, name: str, way: str, answer: Answer, kind: type[LLMError], billed: bool | None
) -> None:
    loopback.answers.append(answer)
    error = fail(make(name, loopback), way)
    assert type(error) is kind
    assert error.retryable is (kind is ProviderUnavailable)
    assert error.context.get("billed") is billed
    assert error.__cause__ is not None
    assert len(loopback.requests) == 1


@BOTH
@WAYS
def test_a_head_that_drips_ends_at_the_deadline(name: str, way: str) -> None:
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not ended.wait(0.05):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        kind = OpenAIProvider if name == "openai" else AnthropicProvider
        try:
            error = fail(opened(kind, f"http://127.0.0.1:{listener.getsockname()[1]}"), way, timeout=0.5)
        finally:
            ended.set()
            thread.join()
    assert isinstance(error, ProviderUnavailable)
    assert "did not answer in time" in error.message


@BOTH
@WAYS
def test_an_answer_is_bounded_after_decompression(
    loopback: LoopbackLLM, name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automate_llm.providers._http.MAX_BYTES", 1_000_000)
    body = gzip.compress(b" " * 2_000_000)
    loopback.answers.append(Answer(200, body, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}))
    error = fail(make(name, loopback), way)
    assert type(error) is LLMError
    assert "more than 1000000 bytes" in error.message
    assert "billed" not in error.context


@BOTH
@WAYS
def test_the_proxies_of_the_environment_get_no_key(
    loopback: LoopbackLLM, name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, refused_url())
    assert call(make(name, loopback), way).text == "Hello!"


@WAYS
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("openai", {"error": {"code": "context_length_exceeded", "message": "Too many."}}),
        ("openai", {"error": {"message": "This model's maximum context length is 2."}}),
        (
            "anthropic",
            {"error": {"type": "invalid_request_error", "message": "prompt is too long: 3 > 2"}},
        ),
    ],
)
def test_messages_that_do_not_fit(loopback: LoopbackLLM, way: str, name: str, body: Any) -> None:
    loopback.answers.append(Answer(400, body))
    assert isinstance(fail(make(name, loopback), way), ContextTooLong)


@BOTH
@WAYS
@pytest.mark.parametrize("answer", [Answer(delay=30), Answer(200, b" " * 2000, drip=0.02)], ids=["silent", "dripping"])
def test_a_call_ends_in_time(loopback: LoopbackLLM, name: str, way: str, answer: Answer) -> None:
    loopback.answers.append(answer)
    error = fail(make(name, loopback), way, timeout=0.3)
    assert isinstance(error, ProviderUnavailable)
    assert "in time" in error.message
    assert "billed" not in error.context


@BOTH
@WAYS
def test_a_refused_key_is_in_no_text(
    loopback: LoopbackLLM, name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "zq-9f8e7d6c5b4a"
    monkeypatch.setenv(f"{name.upper()}_API_KEY", key)
    for status in (401, 400):
        loopback.answers.append(Answer(status, {"error": {"message": f"Incorrect API key provided: {key}"}}))
        error = fail(make(name, loopback), way)
        shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.context)
        assert not error.retryable
        assert key not in shown
        assert f"$env:{name.upper()}_API_KEY" in error.message or status == 400


@BOTH
@WAYS
def test_a_missing_key_names_its_reference(
    name: str, way: str, loopback: LoopbackLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{name.upper()}_API_KEY")
    with pytest.raises(SecretNotFoundError, match=f"{name.upper()}_API_KEY"):
        call(make(name, loopback), way)
    assert not loopback.requests


def test_a_new_key_is_used_at_the_next_call(loopback: LoopbackLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = make("openai", loopback)
    call(provider, "sync")
    monkeypatch.setenv("OPENAI_API_KEY", "the-rotated-key-42")
    call(provider, "sync")
    assert loopback.requests[1]["headers"]["authorization"] == "Bearer the-rotated-key-42"


def test_settings_choose_key_and_model(loopback: LoopbackLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    from automate_llm import chat

    monkeypatch.setenv("MY_KEY", "a-key-of-mine-0001")
    raw = loopback.settings(provider="anthropic")
    raw["LLM"]["providers"]["anthropic"] |= {"api_key": "$env:MY_KEY", "model": "claude-sonnet-4-6"}
    settings.configure(settings.parse(raw))
    assert chat(HELLO) == "Hello!"
    assert loopback.requests[0]["headers"]["authorization"] == "Bearer a-key-of-mine-0001"
    assert loopback.requests[0]["body"]["model"] == "claude-sonnet-4-6"
