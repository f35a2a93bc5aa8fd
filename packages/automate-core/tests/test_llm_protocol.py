"""What the base class of every LLM provider promises: checked arguments, and a double that keeps the contract."""

from __future__ import annotations

import math
from typing import Any

import pytest
from automate_core import settings
from automate_core.errors import LLMError, ProviderUnavailable
from automate_core.llm import MAX_TOKENS, ChatRequest, ChatResult, LLMProvider, Message, Usage
from automate_core.settings import LLMSettings, ProviderSettings, Settings
from automate_core.testing.llm import FakeProvider, LLMProviderContract

HELLO = [{"role": "user", "content": "Hello!"}]


class TestFakeProvider(LLMProviderContract):
    supports_unavailable = True

    def make_provider(self) -> LLMProvider:
        return FakeProvider()

    def make_unavailable(self) -> LLMProvider:
        return FakeProvider(replies=[ProviderUnavailable("gone")])


def test_a_request_is_complete_whatever_the_call_leaves_out() -> None:
    provider = FakeProvider(ProviderSettings(model="mine"))
    settings.configure(Settings(llm=LLMSettings(max_output_tokens=77, timeout_seconds=5)))
    try:
        request = provider.request(HELLO, stop="END", seed=1)
    finally:
        settings.configure(None)
    assert request == ChatRequest(
        (Message("user", "Hello!"),), "mine", max_tokens=77, timeout=5, stop=("END",), options={"seed": 1}
    )


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ({"messages": []}, "/messages"),
        ({"messages": "Hello!"}, "/messages"),
        ({"messages": {"role": "user", "content": "x"}}, "/messages"),
        ({"messages": ["Hello!"]}, "/messages/0"),
        ({"messages": [*HELLO, {"role": "king", "content": "x"}]}, "/messages/1/role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "/messages/0/role"),
        ({"messages": [{"role": "user"}]}, "/messages/0/content"),
        ({"messages": [{"role": "user", "content": 5}]}, "/messages/0/content"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "/messages/0/content"),
        ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, "/messages/0/name"),
        ({"model": ""}, "/model"),
        ({"model": 4}, "/model"),
        ({"max_tokens": 0}, "/max_tokens"),
        ({"max_tokens": True}, "/max_tokens"),
        ({"max_tokens": 1.5}, "/max_tokens"),
        ({"max_tokens": MAX_TOKENS + 1}, "/max_tokens"),
        ({"temperature": math.nan}, "/temperature"),
        ({"temperature": 10**400}, "/temperature"),
        ({"timeout": 0}, "/timeout"),
        ({"timeout": math.inf}, "/timeout"),
        ({"stop": 5}, "/stop"),
        ({"stop": ["a", None]}, "/stop/1"),
        ({"n": 5}, "/n"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_called(arguments: dict[str, Any], pointer: str) -> None:
    provider = FakeProvider()
    with pytest.raises(LLMError) as caught:
        provider.chat(**{"messages": HELLO, **arguments})
    assert caught.value.context["pointer"] == pointer
    assert not caught.value.retryable
    assert not provider.calls


def test_an_unknown_option_names_what_is_near() -> None:
    with pytest.raises(LLMError, match="'temperature'"):
        FakeProvider().chat(HELLO, temprature=1)


@pytest.mark.parametrize("count", [-1, 1.0, True, None])
def test_a_count_of_tokens_is_a_whole_number(count: Any) -> None:
    with pytest.raises(ValueError, match="count of tokens"):
        Usage(1, count)


def test_the_double_replies_in_turn_and_the_last_reply_stays() -> None:
    answer = ChatResult("from a function", "x")
    provider = FakeProvider(replies=["one", lambda request: answer, "last"])
    assert [provider.chat(HELLO) for _ in range(4)] == ["one", "from a function", "last", "last"]
    assert len(provider.calls) == 4
