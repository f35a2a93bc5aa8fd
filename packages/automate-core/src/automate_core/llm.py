"""What an LLM provider is: messages in, text and usage out.

A provider knows its vendor and nothing else. Budget, prices and redaction belong to the gateway of ``automate-llm``,
which hands out providers that are wrapped in it: a provider taken from there cannot be called past the budget.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from automate_core import settings
from automate_core.errors import ErrorCodes, LLMError, nearby
from automate_core.settings import ProviderSettings

__all__ = ["MAX_TOKENS", "ROLES", "ChatRequest", "ChatResult", "LLMProvider", "Message", "Usage"]

MAX_TOKENS = 10_000_000
"""The largest ``max_tokens``: more than any model writes, and small enough for exact arithmetic in a database."""

ROLES = ("system", "developer", "user", "assistant")
"""The roles that a message may have."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Args:
        role: One of :data:`ROLES`.
        content: Its text.
    """

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call of a model, complete: nothing is left to the vendor's defaults that decides what it may cost.

    Args:
        messages: The conversation, oldest first.
        model: The vendor's name of the model.
        max_tokens: Output tokens at the most; what a model thinks counts too.
        timeout: Seconds that the call may take.
        temperature: Randomness from 0 to 2; None leaves it to the model.
        stop: Texts at which the model stops.
        options: Further parameters of the vendor, by the names in :attr:`LLMProvider.option_names`.
        tenant: For whom: its egress policy holds. Recorded with the cost and not sent.
        run_id: The run that calls; recorded with the cost and not sent.
        attempt: Number of the attempt, from 1; recorded and not sent.
    """

    messages: tuple[Message, ...]
    model: str
    max_tokens: int
    timeout: float
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    tenant: str = ""
    run_id: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call used, as the vendor counts it.

    Args:
        input_tokens: Tokens of the prompt, cached ones included.
        output_tokens: Tokens of the answer, thinking included.

    Raises:
        ValueError: If a count is not a whole number of at least 0.
    """

    input_tokens: int
    output_tokens: int

    def __post_init__(self) -> None:
        counts: tuple[Any, Any] = (self.input_tokens, self.output_tokens)
        for count in counts:
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise ValueError(f"{count!r} is not a count of tokens")


@dataclass(frozen=True, slots=True)
class ChatResult:
    """The answer of a model.

    Args:
        text: The text; a refusal's text where the model refused.
        model: The model that answered, as the vendor names it.
        usage: What the call used; None where the vendor did not say, which the budget counts as all that was reserved.
        finish_reason: ``stop``, ``length``, ``refusal``, ``tool_calls``, or the vendor's own word.
        cost_usd: What it cost in US dollars; set by the gateway, None before.
    """

    text: str
    model: str
    usage: Usage | None = None
    finish_reason: str = "stop"
    cost_usd: Decimal | None = None


class LLMProvider(ABC):
    """Base class of every LLM provider.

    A subclass sets the attributes below and implements :meth:`complete`; where its vendor has an asynchronous client,
    :meth:`acomplete` too. Both raise errors of the tree only:

    - :class:`~automate_core.errors.ProviderUnavailable` (with ``retry_after`` where the vendor said so) for 429, 5xx,
      timeouts and lost connections; :class:`~automate_core.errors.ContextTooLong`;
      :class:`~automate_core.errors.LLMError` for everything that would fail again;
    - with ``context={"billed": False}`` where it is certain that the vendor does not charge. Without it the budget
      counts a failed call as all that was reserved for it.

    Args:
        settings: The provider's part of ``LLM.providers``; left out, the defaults.
    """

    key: str = ""
    """The name under which it is registered."""

    default_model: str = ""
    """The model where neither the call nor the settings name one."""

    default_api_key: str = ""
    """The secret reference of the key where the settings name none; empty where none is needed."""

    default_base_url: str = ""
    """Where it calls when the settings do not say, for judging a policy beforehand; empty where nobody can tell."""

    option_names: frozenset[str] = frozenset()
    """Further parameters that :meth:`chat` accepts and sends on; never one that multiplies the cost."""

    def __init__(self, settings: ProviderSettings | None = None) -> None:
        self.settings = ProviderSettings() if settings is None else settings

    @property
    def model(self) -> str:
        """The model where the call names none."""
        return self.settings.model or self.default_model

    def request(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout: float | None = None,
        stop: str | Sequence[str] | None = None,
        tenant: str = "",
        run_id: str = "",
        attempt: int = 1,
        **options: Any,
    ) -> ChatRequest:
        """Check the arguments of a call and complete them with the defaults.

        Args:
            messages: Mappings with ``role`` and ``content``, oldest first.
            model: The vendor's name of the model.
            temperature: Randomness from 0 to 2.
            max_tokens: Output tokens at the most; left out, ``LLM.max_output_tokens``.
            timeout: Seconds that the call may take; left out, ``LLM.timeout_seconds``.
            stop: Texts at which the model stops.
            tenant: For whom: its egress policy holds.
            run_id: The run that calls, for the record.
            attempt: Number of the attempt, for the record.
            **options: Further parameters of the vendor, see :attr:`option_names`.

        Returns:
            The request.

        Raises:
            LLMError: If an argument is wrong; ``context["pointer"]`` is a JSON pointer to it.
        """
        defaults = settings.current().llm
        for name in options:
            if name not in self.option_names:
                raise _invalid(f"/{name}", f"is no option of the provider {self.key!r}.{nearby(name, self._options())}")
        chosen: Any = self.model if model is None else model
        if not isinstance(chosen, str) or not chosen:
            raise _invalid("/model", "must be the name of a model")
        return ChatRequest(
            messages=_messages(messages),
            model=chosen,
            max_tokens=_whole("/max_tokens", defaults.max_output_tokens if max_tokens is None else max_tokens),
            timeout=_number("/timeout", defaults.timeout_seconds if timeout is None else timeout, 0.001, 86_400),
            temperature=None if temperature is None else _number("/temperature", temperature, 0, 2),
            stop=_texts("/stop", stop),
            options=options,
            tenant=tenant,
            run_id=run_id,
            attempt=attempt,
        )

    def _options(self) -> set[str]:
        return {"model", "temperature", "max_tokens", "timeout", "stop", *self.option_names}

    @abstractmethod
    def complete(self, request: ChatRequest) -> ChatResult:
        """Call the model.

        Args:
            request: The call.

        Returns:
            The answer.

        Raises:
            LLMError: If the call failed; see the class.
        """

    async def acomplete(self, request: ChatRequest) -> ChatResult:
        """Call the model from asynchronous code; left as it is, :meth:`complete` runs in a thread.

        Args:
            request: The call.

        Returns:
            The answer.

        Raises:
            LLMError: If the call failed; see the class.
        """
        return await asyncio.to_thread(self.complete, request)

    def chat(self, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> str:
        """Send a conversation and return the text of the answer.

        Args:
            messages: Mappings with ``role`` and ``content``, oldest first.
            **kwargs: As for :meth:`request`.

        Returns:
            The text.

        Raises:
            LLMError: If an argument is wrong or the call failed.
        """
        return self.complete(self.request(messages, **kwargs)).text

    async def achat(self, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> str:
        """Send a conversation from asynchronous code; see :meth:`chat`.

        Args:
            messages: Mappings with ``role`` and ``content``, oldest first.
            **kwargs: As for :meth:`request`.

        Returns:
            The text.

        Raises:
            LLMError: If an argument is wrong or the call failed.
        """
        return (await self.acomplete(self.request(messages, **kwargs))).text


def _invalid(pointer: str, problem: str) -> LLMError:
    return LLMError(
        code=ErrorCodes.INVALID_INPUT, message=f"{pointer} {problem}", context={"pointer": pointer, "billed": False}
    )


def _messages(messages: Any) -> tuple[Message, ...]:
    if not isinstance(messages, (list, tuple)) or not messages:
        raise _invalid("/messages", "must be a list of at least one {'role': …, 'content': …}")
    return tuple(_message(f"/messages/{index}", message) for index, message in enumerate(messages))


def _message(pointer: str, message: Any) -> Message:
    if not isinstance(message, Mapping):
        raise _invalid(pointer, "must be a mapping with 'role' and 'content'")
    if unknown := [str(name) for name in message if name not in ("role", "content")]:
        raise _invalid(f"{pointer}/{unknown[0]}", "is not part of a message: it has 'role' and 'content'")
    role = message.get("role")
    if role not in ROLES:
        raise _invalid(f"{pointer}/role", f"must be one of {', '.join(ROLES)}")
    return Message(str(role), _text(f"{pointer}/content", message.get("content")))


def _text(pointer: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _invalid(pointer, f"must be text, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _invalid(pointer, "holds half of a surrogate pair, which is no Unicode text") from None
    return value


def _texts(pointer: str, value: str | Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (_text(pointer, value),)
    if not isinstance(value, (list, tuple)):
        raise _invalid(pointer, "must be a text or a list of texts")
    return tuple(_text(f"{pointer}/{index}", text) for index, text in enumerate(value))


def _whole(pointer: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TOKENS:
        raise _invalid(pointer, f"must be a whole number from 1 to {MAX_TOKENS}")
    return value


def _number(pointer: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise _invalid(pointer, f"must be a number from {low:g} to {high:g}")
    return float(value)
