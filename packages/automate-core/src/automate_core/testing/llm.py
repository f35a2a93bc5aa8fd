"""For tests of and with LLM providers: the contract that each fulfils, and a provider without a vendor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from automate_core.errors import LLMError, ProviderUnavailable
from automate_core.llm import ChatRequest, ChatResult, LLMProvider, Message, Usage
from automate_core.settings import ProviderSettings

__all__ = ["FakeProvider", "LLMProviderContract"]

Reply = str | ChatResult | BaseException | Callable[[ChatRequest], ChatResult]


class FakeProvider(LLMProvider):
    """A provider without a vendor that records its calls.

    A registry wants something that takes the settings and returns a provider, so one that a test looks into is
    registered as ``registry.add("llm_providers", "fake", lambda settings: provider)``. The budget wants a price:
    ``{"LLM": {"prices": {"fake-1": {"input": "1", "output": "2"}}}}``.

    Args:
        settings: The provider's settings.
        replies: What the calls get, in turn: a text, a result, an error to raise, or a function of the request. The
            last one stays. Left out, the answer repeats the last message.
    """

    key = "fake"
    default_model = "fake-1"
    option_names = frozenset({"seed"})

    def __init__(self, settings: ProviderSettings | None = None, *, replies: Iterable[Reply] = ()) -> None:
        super().__init__(settings)
        self.calls: list[ChatRequest] = []
        self._replies = list(replies)
        self._lock = threading.Lock()

    def complete(self, request: ChatRequest) -> ChatResult:
        """Record the call and return, or raise, the next reply.

        Args:
            request: The call.

        Returns:
            The answer; one token of input and output for every word.
        """
        with self._lock:
            self.calls.append(request)
            reply = self._next(request)
        if isinstance(reply, BaseException):
            raise reply
        if isinstance(reply, ChatResult):
            return reply
        if callable(reply):
            return reply(request)
        words = sum(len(message.content.split()) for message in request.messages)
        return ChatResult(reply, request.model, Usage(words, min(len(reply.split()), request.max_tokens)))

    def _next(self, request: ChatRequest) -> Reply:
        if not self._replies:
            return request.messages[-1].content
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


class LLMProviderContract:
    """What every LLM provider does; a test class derives from it and says how to make one.

    ::

        class TestAcme(LLMProviderContract):
            def make_provider(self) -> LLMProvider:
                return AcmeProvider(ProviderSettings(base_url=..., api_key="$env:ACME_KEY"))
    """

    supports_unavailable = False
    """Set it where :meth:`make_unavailable` is implemented."""

    model: str | None = None
    """The model to call; None takes the provider's default."""

    def make_provider(self) -> LLMProvider:
        """Return a provider whose vendor, or a stand-in for it, answers."""
        raise TypeError(f"{type(self).__name__} must implement make_provider()")

    def make_unavailable(self) -> LLMProvider:
        """Return a provider whose vendor cannot be reached, or answers with 5xx."""
        raise TypeError(f"{type(self).__name__} sets supports_unavailable and must implement make_unavailable()")

    def _request(self, provider: LLMProvider, *messages: Message) -> ChatRequest:
        spoken = messages or (Message("user", "Say hello."),)
        plain = [{"role": message.role, "content": message.content} for message in spoken]
        return provider.request(plain, model=self.model, max_tokens=64, timeout=20)

    def test_names_itself_and_a_model(self) -> None:
        """It has a key that a registry accepts, and a default model."""
        from automate_core.specs import Spec

        provider = self.make_provider()
        Spec(provider.key, "any.module:Any")
        assert provider.default_model
        assert provider.model

    def test_completes(self) -> None:
        """An answer is text, from a named model, with counts where the vendor gives them."""
        provider = self.make_provider()
        self._check(provider.complete(self._request(provider)))

    async def _acomplete(self) -> None:
        provider = self.make_provider()
        self._check(await provider.acomplete(self._request(provider)))

    def test_completes_asynchronously(self) -> None:
        """The asynchronous twin does the same, in one event loop after another."""
        import asyncio

        for _ in range(2):
            asyncio.run(self._acomplete())

    def test_takes_every_role(self) -> None:
        """System messages, and turns of both sides, may come in any number."""
        provider = self.make_provider()
        turns = ("system", "user", "assistant", "system", "user", "user")
        messages = [Message(role, f"Message {number}.") for number, role in enumerate(turns)]
        self._check(provider.complete(self._request(provider, *messages)))

    def test_takes_temperature_and_stop(self) -> None:
        """What a model cannot take is mapped or dropped, never an accident."""
        provider = self.make_provider()
        request = replace(self._request(provider), temperature=0.5, stop=("END",))
        self._check(provider.complete(request))

    def test_chat_is_the_text_of_complete(self) -> None:
        """``chat`` returns text."""
        text = self.make_provider().chat([{"role": "user", "content": "Say hello."}], model=self.model, max_tokens=64)
        assert isinstance(text, str)

    def test_refuses_an_unknown_option(self) -> None:
        """An option that nobody looked at could change what a call costs."""
        import pytest

        with pytest.raises(LLMError) as caught:
            self.make_provider().chat([{"role": "user", "content": "Say hello."}], no_such_option=1)
        assert caught.value.context["pointer"] == "/no_such_option"

    def test_unavailable_is_retryable(self) -> None:
        """A vendor that cannot be reached is a ProviderUnavailable, with the vendor's exception as its cause."""
        import pytest

        if not self.supports_unavailable:
            pytest.skip("this test class does not set supports_unavailable")
        provider = self.make_unavailable()
        with pytest.raises(ProviderUnavailable) as caught:
            provider.complete(self._request(provider))
        assert caught.value.retryable

    def _check(self, result: ChatResult) -> None:
        assert isinstance(result, ChatResult)
        assert isinstance(result.text, str)
        assert isinstance(result.model, str)
        assert result.model
        assert result.finish_reason
        assert result.usage is None or isinstance(result.usage, Usage)
