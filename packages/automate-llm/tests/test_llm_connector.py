"""The action llm.chat, found through the registry and called as the runtime does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from automate_core import settings
from automate_core.connectors import ActionContext
from automate_core.errors import InvalidInputError, ProviderUnavailable
from automate_core.registry import registry
from automate_core.schema import check
from automate_core.testing.llm import FakeProvider


@pytest.fixture(autouse=True)
def fake() -> Iterator[FakeProvider]:
    provider = FakeProvider()
    registry.add("llm_providers", "fake", lambda config: provider)
    prices = {"fake-1": {"input": "1", "output": "2"}, "fake-2": {"input": "1", "output": "2"}}
    settings.configure(settings.parse({"LLM": {"provider": "fake", "prices": prices}}))
    yield provider
    registry.remove("llm_providers", "fake")


def run(data: dict[str, Any], ctx: ActionContext | None = None) -> Any:
    connector, spec = registry.get_action("llm.chat")
    output = connector(ctx=ctx).call("chat", data)
    assert check(spec.output_json_schema(), output) is None
    return output


def test_a_prompt(fake: FakeProvider) -> None:
    context = ActionContext(run_id="r", tenant="acme", attempt=3, deadline=time.monotonic() + 5)
    output = run({"system": "Be short.", "prompt": "one two three", "temperature": 0.5, "max_tokens": 50}, context)
    assert output == {
        "text": "one two three",
        "model": "fake-1",
        "finish_reason": "stop",
        "usage": {"input_tokens": 5, "output_tokens": 3},
        "cost_usd": 0.000011,
    }
    (request,) = fake.calls
    assert [message.role for message in request.messages] == ["system", "user"]
    assert (request.temperature, request.max_tokens) == (0.5, 50)
    assert (request.run_id, request.tenant, request.attempt) == ("r", "acme", 3)
    assert request.timeout <= 5, "the call must not outlive its step"


def test_messages_and_model(fake: FakeProvider) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert run({"messages": turns, "provider": "fake", "model": "fake-2"})["model"] == "fake-2"
    assert [(message.role, message.content) for message in fake.calls[0].messages] == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ]


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({}, ""),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, ""),
        ({"messages": [{"role": "user", "content": "b"}], "system": "c"}, ""),
        ({"messages": []}, "/messages"),
        ({"messages": [{"role": "root", "content": "b"}]}, "/messages/0/role"),
        ({"prompt": "a", "temperature": 3}, "/temperature"),
        ({"prompt": "a", "max_tokens": 0}, "/max_tokens"),
        ({"prompt": "a", "n": 5}, "/n"),
    ],
)
def test_wrong_input_is_refused_before_the_call(fake: FakeProvider, data: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        run(data)
    assert caught.value.context["pointer"] == pointer
    assert not fake.calls


def test_errors_stay_errors_of_the_tree(fake: FakeProvider) -> None:
    fake._replies = [ProviderUnavailable("busy", retry_after=3)]
    with pytest.raises(ProviderUnavailable) as caught:
        run({"prompt": "a"})
    assert caught.value.retry_after == 3
