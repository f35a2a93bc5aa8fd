"""The gateway: every call is redacted, priced, reserved, made, and settled.

What :func:`get_provider` returns is wrapped in it, so that no call goes past the budget.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from automate_core import settings
from automate_core.errors import AutomateError, ConfigurationError, PluginError, PolicyError, SecretError
from automate_core.llm import ChatRequest, ChatResult, LLMProvider, Message
from automate_core.redaction import redact_text
from automate_core.registry import Registry, registry
from automate_core.settings import ProviderSettings

from automate_llm.budget import Ledger, Settlement, current_ledger, daily_cap, reservation_for, usd
from automate_llm.prices import price_of

__all__ = ["MeteredProvider", "achat", "chat", "get_provider"]

logger = logging.getLogger("automate.llm")


def chat(messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> str:
    """Send a conversation to a language model.

    Args:
        messages: Mappings with ``role`` (``system``, ``developer``, ``user`` or ``assistant``) and ``content``, oldest
            first. Secrets that the process knows, and values that look like one, are redacted before they are sent,
            unless ``LLM.redact_prompts`` is off.
        **kwargs: ``provider`` and ``model`` (left out, the settings decide), ``temperature``, ``max_tokens``,
            ``timeout`` in seconds, ``stop``, ``tenant``, and what else the provider takes; see
            :meth:`automate_core.llm.LLMProvider.request`.

    Returns:
        The text of the answer.

    Raises:
        BudgetExceeded: If the call could cost more than is left of the day's budget.
        ProviderUnavailable: If the provider cannot be reached or answers with 429 or 5xx; worth a retry.
        ContextTooLong: If the messages do not fit the model.
        LLMError: If an argument is wrong, the model's price is not known, or the call failed for good.
        SSRFBlocked: If the egress policy refuses the provider's host.
        NotRegisteredError: If there is no such provider.
    """
    provider = kwargs.pop("provider", None) or settings.current().llm.provider
    return get_provider(provider).chat(messages, **kwargs)


async def achat(messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> str:
    """Send a conversation to a language model from asynchronous code.

    Args:
        messages: As for :func:`chat`.
        **kwargs: As for :func:`chat`.

    Returns:
        The text of the answer.

    Raises:
        LLMError: As :func:`chat`.
        NotRegisteredError: If there is no such provider.
    """
    provider = kwargs.pop("provider", None) or settings.current().llm.provider
    return await get_provider(provider).achat(messages, **kwargs)


def get_provider(name: str, *, plugins: Registry | None = None) -> LLMProvider:
    """Return a provider whose calls go through the budget.

    Args:
        name: Its key, such as ``"openai"`` or ``"anthropic"``.
        plugins: Where it is looked up; left out, the default registry.

    Returns:
        The provider, with the settings that ``LLM.providers`` has for it.

    Raises:
        NotRegisteredError: If there is none; the message names those that exist.
        PluginLoadError: If its module cannot be imported.
    """
    factory = (registry if plugins is None else plugins).load("llm_providers", name)
    return MeteredProvider(_make(factory, settings.current().llm.providers.get(name, ProviderSettings())))


@lru_cache(maxsize=64)
def _make(factory: Callable[[ProviderSettings], LLMProvider], config: ProviderSettings) -> LLMProvider:
    """Keep the provider, and with it the open connections of its client."""
    return factory(config)


class MeteredProvider(LLMProvider):
    """A provider within the budget.

    Args:
        inner: The provider that calls the vendor.
        ledger: Where the budget is kept; left out, :func:`automate_llm.budget.current_ledger` at each call.
    """

    def __init__(self, inner: LLMProvider, ledger: Ledger | None = None) -> None:
        super().__init__(inner.settings)
        self.inner = inner
        self.key = inner.key
        self.default_model = inner.default_model
        self.default_api_key = inner.default_api_key
        self.option_names = inner.option_names
        self._ledger = ledger

    def complete(self, request: ChatRequest) -> ChatResult:
        """Redact, reserve, call the model, and settle whatever happens.

        Args:
            request: The call.

        Returns:
            The answer, with its cost.

        Raises:
            LLMError: If the call is refused or failed; see :func:`chat`.
        """
        call = _Call(self.inner.key, request, self._ledger or current_ledger())
        call.ledger.reserve(call.reservation, daily_cap())
        call.started = time.monotonic()
        try:
            result = self.inner.complete(call.request)
        except BaseException as error:
            call.settle(call.failure(error))
            raise
        settlement = call.success(result)
        call.settle(settlement)
        return replace(result, cost_usd=usd(settlement.cost))

    async def acomplete(self, request: ChatRequest) -> ChatResult:
        """Do what :meth:`complete` does in asynchronous code; a cancelled call is settled too.

        Args:
            request: The call.

        Returns:
            The answer, with its cost.

        Raises:
            LLMError: If the call is refused or failed; see :func:`chat`.
        """
        call = _Call(self.inner.key, request, self._ledger or current_ledger())
        try:
            await _to_the_end(call.ledger.areserve(call.reservation, daily_cap()))
        except asyncio.CancelledError:
            await _to_the_end(call.asettle(Settlement(0, succeeded=False, error_code="cancelled")))
            raise
        call.started = time.monotonic()
        try:
            result = await self.inner.acomplete(call.request)
        except BaseException as error:
            await _to_the_end(call.asettle(call.failure(error)))
            raise
        settlement = call.success(result)
        await _to_the_end(call.asettle(settlement))
        return replace(result, cost_usd=usd(settlement.cost))


class _Call:
    """One call on its way through the gateway."""

    def __init__(self, provider: str, request: ChatRequest, ledger: Ledger) -> None:
        self.request = _redacted(request) if settings.current().llm.redact_prompts else request
        self.price = price_of(request.model)
        self.reservation = reservation_for(provider, self.request, self.price)
        self.ledger = ledger
        self.started = time.monotonic()

    def success(self, result: ChatResult) -> Settlement:
        usage = result.usage
        if usage is None:
            return Settlement(self.reservation.amount, succeeded=True, latency_ms=self._latency())
        cost = self.price.cost(usage.input_tokens, usage.output_tokens)
        if cost > self.reservation.amount:
            logger.warning(
                "A call of %s cost more than was reserved: $%s, not $%s",
                self.reservation.model, usd(cost), usd(self.reservation.amount),
            )  # fmt: skip
        return Settlement(cost, True, usage.input_tokens, usage.output_tokens, self._latency())

    def failure(self, error: BaseException) -> Settlement:
        """A call whose charge is uncertain counts in full: a cancelled one, or one whose answer was lost."""
        code = str(error.code) if isinstance(error, AutomateError) else type(error).__name__
        cost = 0 if _is_unbilled(error) else self.reservation.amount
        return Settlement(cost, succeeded=False, latency_ms=self._latency(), error_code=code)

    def settle(self, settlement: Settlement) -> None:
        try:
            self.ledger.settle(self.reservation, settlement)
        except Exception:
            logger.exception("The LLM call %s cannot be settled; it counts as reserved", self.reservation.id)
        self._log(settlement)

    async def asettle(self, settlement: Settlement) -> None:
        try:
            await self.ledger.asettle(self.reservation, settlement)
        except Exception:
            logger.exception("The LLM call %s cannot be settled; it counts as reserved", self.reservation.id)
        self._log(settlement)

    def _latency(self) -> int:
        return int((time.monotonic() - self.started) * 1000)

    def _log(self, settlement: Settlement) -> None:
        logger.info(
            "LLM call of %s %s: %s, $%s, %d ms",
            self.reservation.provider, self.reservation.model,
            "success" if settlement.succeeded else settlement.error_code, usd(settlement.cost), settlement.latency_ms,
            extra={"llm_call_id": str(self.reservation.id), "run_id": self.reservation.run_id},
        )  # fmt: skip


def _is_unbilled(error: BaseException) -> bool:
    """Whether it is certain that the vendor charges nothing: it said so, or the call never reached it."""
    if isinstance(error, (ConfigurationError, PluginError, PolicyError, SecretError)):
        return True
    return isinstance(error, AutomateError) and error.context.get("billed") is False


def _redacted(request: ChatRequest) -> ChatRequest:
    messages = tuple(Message(message.role, redact_text(message.content)) for message in request.messages)
    stop = tuple(redact_text(text) for text in request.stop)
    return replace(request, messages=messages, stop=stop, options=_redact_texts(request.options))


def _redact_texts(value: Any) -> Any:
    """Redact texts by what they are; the names of a vendor's parameters say nothing about secrets."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {_redact_texts(name): _redact_texts(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact_texts(item) for item in value]
    return value


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Finish some work although the caller is cancelled meanwhile, and only then let the cancellation go on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()
