"""What the vendors' SDKs have in common: one generator made them, so their clients and exceptions have one shape."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import ModuleType
from typing import Any

from automate_core import settings
from automate_core.egress import EgressPolicy, parse_url
from automate_core.errors import (
    AutomateError,
    ConfigurationError,
    ContextTooLong,
    LLMError,
    PolicyError,
    ProviderUnavailable,
    SSRFBlocked,
)
from automate_core.llm import ChatRequest, ChatResult, LLMProvider
from automate_core.policy import current_policy
from automate_core.redaction import redact_text
from automate_core.secrets import aresolve, resolve
from automate_core.settings import PolicySettings, ProviderSettings

__all__ = ["SDKProvider"]

NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "credit balance is too low")
MAYBE_BILLED = frozenset({408, 502, 504, 524})
"""Statuses that something in between may give while the vendor goes on and charges."""


class _Kept:
    """A client that is closed with its last user: calls of other threads may outlive a change of key or policy."""

    def __init__(self, client: Any) -> None:
        self.client = client
        weakref.finalize(self, client.close)


class SDKProvider(LLMProvider):
    """A provider over a vendor's SDK, whose calls are under the egress policy of the tenant that they are for.

    The clients for synchronous calls are kept, with their connections, by process, key and policy; asynchronous calls
    have a client each, because its connections belong to one event loop.

    Args:
        settings: The provider's part of ``LLM.providers``.
    """

    base_url_variable: str = ""
    """The vendor's variable of the environment for another address than its own; ``LLM.providers`` comes first."""

    too_long_marks: tuple[str, ...] = ()
    """What the vendor's error says, in lower case, where the messages do not fit."""

    def __init__(self, settings: ProviderSettings | None = None) -> None:
        super().__init__(settings)
        self._lock = threading.Lock()
        self._kept_for: tuple[int, str, PolicySettings] | None = None
        self._kept: dict[EgressPolicy, _Kept] = {}

    @abstractmethod
    def _sdk(self) -> ModuleType:
        """Import the SDK."""

    @abstractmethod
    def _new_client(self, key: str, policy: EgressPolicy) -> Any:
        """Make a client for synchronous calls, which does not retry."""

    @abstractmethod
    def _new_async_client(self, key: str, policy: EgressPolicy) -> Any:
        """Make a client for asynchronous calls, which does not retry."""

    @abstractmethod
    def _send(self, client: Any, request: ChatRequest) -> Any:
        """Call the vendor: returns its answer, or an awaitable of it where the client is asynchronous."""

    @abstractmethod
    def _read(self, answer: Any) -> ChatResult:
        """Read the vendor's answer, which nobody has validated."""

    def complete(self, request: ChatRequest) -> ChatResult:
        """Call the model; see :meth:`automate_core.llm.LLMProvider.complete`.

        Args:
            request: The call.

        Returns:
            The answer.

        Raises:
            ProviderUnavailable: For 429, 5xx, timeouts and lost connections.
            ContextTooLong: If the messages do not fit the model.
            LLMError: For everything else that the vendor refuses.
            SSRFBlocked: If the egress policy of the tenant refuses the provider's host; nothing was sent.
        """
        kept = self._keep(resolve(self._reference), self._policy(request.tenant))
        try:
            answer = self._send(kept.client, request)
        except AutomateError:
            raise
        except Exception as error:
            raise self._failure(error, request) from error
        return self._result(answer)

    async def acomplete(self, request: ChatRequest) -> ChatResult:
        """Call the model from asynchronous code; see :meth:`complete`.

        Args:
            request: The call.

        Returns:
            The answer.

        Raises:
            LLMError: As :meth:`complete`.
            SSRFBlocked: As :meth:`complete`.
        """
        await asyncio.to_thread(self._sdk)  # the import takes a second, which the event loop shall not wait for
        key = await aresolve(self._reference)
        async with self._new_async_client(key, self._policy(request.tenant)) as client:
            try:
                async with asyncio.timeout(request.timeout):
                    answer = await self._send(client, request)
            except AutomateError:
                raise
            except Exception as error:
                raise self._failure(error, request) from error
        return self._result(answer)

    def close(self) -> None:
        """Close the kept connections, whoever uses them; the next call opens new ones."""
        with self._lock:
            kept, self._kept = self._kept, {}
        for one in kept.values():
            one.client.close()

    @property
    def base_url(self) -> str | None:
        """The address that the installation names; None where it leaves that to the SDK."""
        return self.settings.base_url or os.environ.get(self.base_url_variable) or None

    @property
    def _reference(self) -> str:
        return self.settings.api_key or self.default_api_key

    def _policy(self, tenant: str) -> EgressPolicy:
        url, policy = self.base_url, current_policy(tenant).egress
        try:
            return policy if url is None else _serving(policy, url)
        except SSRFBlocked as error:  # the settings examined theirs
            raise ConfigurationError(f"{self.base_url_variable}: {error.message}") from None

    def _keep(self, key: str, policy: EgressPolicy) -> _Kept:
        now = (os.getpid(), key, settings.current().policy)
        with self._lock:
            if self._kept_for != now:
                self._kept_for, self._kept = now, {}
            if policy not in self._kept:
                self._kept[policy] = _Kept(self._new_client(key, policy))
            return self._kept[policy]

    def _result(self, answer: Any) -> ChatResult:
        try:
            return self._read(answer)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ProviderUnavailable(f"{self.key} answered with something that is not a chat completion.") from error

    # -- errors -----------------------------------------------------------------------------------------------------

    def _failure(self, error: Exception, request: ChatRequest) -> AutomateError:
        from automate_llm.providers._http import never_reached

        cause = error.__cause__
        if isinstance(cause, (LLMError, PolicyError)):  # of our transport, which the SDK takes for a lost connection
            return type(cause)(cause.message, context=cause.context)
        sdk = self._sdk()
        context: dict[str, Any] = {"provider": self.key, "model": request.model}
        if isinstance(error, sdk.APIStatusError):
            return self._refusal(error, context)
        if isinstance(error, (sdk.APITimeoutError, sdk.APIConnectionError, TimeoutError)):
            if never_reached(error):
                context["billed"] = False
                why = str(cause) or type(cause).__name__
                return ProviderUnavailable(f"{self.key} cannot be reached: {why}.", context=context)
            lost = "did not answer in time" if _is_timeout(error, sdk) else "closed the connection without an answer"
            return ProviderUnavailable(f"{self.key} {lost}.", context=context)
        if isinstance(error, (sdk.APIResponseValidationError, json.JSONDecodeError)):
            return ProviderUnavailable(f"{self.key} answered with something that is not JSON.", context=context)
        return LLMError(f"The call of {self.key} failed: {_clean(error, str(error))}", context=context)

    def _refusal(self, error: Any, context: dict[str, Any]) -> AutomateError:
        status: int = error.status_code
        said = "" if status in (401, 403) else _said(error)
        text = _clean(error, said)
        context |= {"status": status} | ({} if status in MAYBE_BILLED else {"billed": False})
        if status in (401, 403):
            return LLMError(f"{self.key} refused the key of {self._reference} ({status}).", context=context)
        if any(mark in said.lower() for mark in NO_CREDIT):
            return LLMError(f"The account at {self.key} has no credit left ({status}): {text}", context=context)
        if status in (408, 409, 425, 429) or status >= 500:
            return ProviderUnavailable(
                f"{self.key} is not available ({status}): {text}",
                context=context,
                retry_after=_retry_after(error.response.headers),
            )
        if status == 413 or any(mark in said.lower() for mark in self.too_long_marks):
            return ContextTooLong(f"The messages do not fit {context['model']}: {text}", context=context)
        return LLMError(f"{self.key} refused the call ({status}): {text}", context=context)


@lru_cache(maxsize=256)
def _serving(policy: EgressPolicy, base_url: str) -> EgressPolicy:
    """Let the host that the installation names have an address of the site, and nothing more."""
    return replace(policy, services=(parse_url(base_url).endpoint,))


def _is_timeout(error: Exception, sdk: Any) -> bool:
    return isinstance(error, (sdk.APITimeoutError, TimeoutError))


def _said(error: Any) -> str:
    """What the vendor's answer says: its code and message; the SDK's own text where it has another shape."""
    body = error.body if isinstance(error.body, Mapping) else {}
    inner = body.get("error", body)
    inner = inner if isinstance(inner, Mapping) else {}
    parts = [str(inner[name]) for name in ("code", "message") if inner.get(name)]
    return ": ".join(parts) if parts else str(error)


def _clean(error: Exception, text: str) -> str:
    """Make a vendor's text fit to be shown, and give the exception, which a traceback shows as the cause, the same."""
    clean = redact_text(text)[:500]
    error.args = (clean or type(error).__name__,)
    for name in ("message", "body"):
        if hasattr(error, name):
            setattr(error, name, clean)
    return clean


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long to wait: milliseconds, seconds or a date; None where nothing sensible is said."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            value = headers["retry-after"]
            seconds = float(value) if value[:1].isdigit() else _seconds_until(value)
    except (KeyError, ValueError):
        return None
    return min(max(seconds, 0.0), 86_400.0) if math.isfinite(seconds) else None


def _seconds_until(value: str) -> float:
    when = parsedate_to_datetime(value)
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
