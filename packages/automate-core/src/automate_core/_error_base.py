"""What every error has: its code, what it says and where it went wrong; public as :mod:`automate_core.errors`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, ClassVar

__all__ = ["AutomateError", "ErrorCodes", "nearby"]


class ErrorCodes(StrEnum):
    """Stable, machine-readable names of what went wrong; one per class of the tree."""

    __module__ = "automate_core.errors"  # as which people import it, and pickles name it

    INTERNAL = "internal"
    CONFIGURATION = "configuration"
    INVALID_PAYLOAD = "invalid_payload"
    EVENT_NOT_FOUND = "event_not_found"
    ARTIFACT = "artifact"
    ARTIFACT_UNAVAILABLE = "artifact_unavailable"
    ARTIFACT_CORRUPT = "artifact_corrupt"
    AUDIT = "audit"
    AUDIT_CHAIN_BROKEN = "audit_chain_broken"
    PLUGIN = "plugin"
    PLUGIN_LOAD = "plugin_load"
    PLUGIN_INCOMPATIBLE = "plugin_incompatible"
    DUPLICATE_KEY = "duplicate_key"
    NOT_REGISTERED = "not_registered"
    RULE = "rule"
    RULE_SYNTAX = "rule_syntax"
    UNKNOWN_OPERATION = "unknown_operation"
    RULE_LIMIT = "rule_limit"
    RULE_EVALUATION = "rule_evaluation"
    SECRET = "secret"  # noqa: S105 - the name of an error, not a credential
    SECRET_NOT_FOUND = "secret_not_found"  # noqa: S105 - likewise
    SECRET_ACCESS_DENIED = "secret_access_denied"  # noqa: S105 - likewise
    SECRET_DECRYPTION = "secret_decryption"  # noqa: S105 - likewise
    SECRET_BACKEND_UNAVAILABLE = "secret_backend_unavailable"  # noqa: S105 - likewise
    OUTBOX = "outbox"
    LEASE_LOST = "lease_lost"
    DOUBTFUL_COMMIT = "doubtful_commit"
    DUPLICATE_EVENT = "duplicate_event"
    EXECUTION = "execution"
    STEP_TIMEOUT = "step_timeout"
    STEP_FAILED = "step_failed"
    TEMPLATE = "template"
    INVALID_DEFINITION = "invalid_definition"
    WORKFLOW_NOT_FOUND = "workflow_not_found"
    CONNECTOR = "connector"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    INVALID_INPUT = "invalid_input"
    RATE_LIMITED = "rate_limited"
    UNKNOWN_ACTION = "unknown_action"
    LLM = "llm"
    BUDGET_EXCEEDED = "budget_exceeded"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    CONTEXT_TOO_LONG = "context_too_long"
    RAG = "rag"
    ENDPOINT_NOT_FOUND = "endpoint_not_found"
    POLICY = "policy"
    SSRF_BLOCKED = "ssrf_blocked"
    CONNECTOR_NOT_ALLOWED = "connector_not_allowed"


def nearby(wanted: str, existing: Iterable[str]) -> str:
    """Name what exists near to a name that does not.

    Args:
        wanted: The name that was asked for.
        existing: The names that exist.

    Returns:
        A sentence for the end of an error message, for instance ``" Did you mean 'slack'?"``.
    """
    names = sorted(existing)
    close = get_close_matches(wanted, names, n=3, cutoff=0.5)
    if close:
        return f" Did you mean {' or '.join(repr(name) for name in close)}?"
    if not names:
        return " None exists yet."
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f" Known: {shown}."


class AutomateError(Exception):
    """The base of every error that Automate raises.

    Args:
        code: What went wrong, for machines.
        message: What went wrong and what to do about it, for people. Secrets that are known to the process are
            removed from it.
        retryable: Whether the same call may succeed later; left out, the class decides.
        context: Where it went wrong: names, ids, a JSON pointer. Redacted like the message.
        retry_after: Seconds to wait before the next attempt, where the other side said so.

    ``AutomateError(ErrorCodes.INTERNAL, "text")`` and ``TransientError("text")`` are both right: a subclass knows its
    code.
    """

    __module__ = "automate_core.errors"  # as which tracebacks name it, like the rest of the tree

    code: ErrorCodes | str = ErrorCodes.INTERNAL
    retryable: bool = False
    default_code: ClassVar[ErrorCodes] = ErrorCodes.INTERNAL

    def __init__(
        self,
        *args: str,
        code: ErrorCodes | str | None = None,
        message: str | None = None,
        retryable: bool | None = None,
        context: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        from automate_core.redaction import redact, redact_text

        if len(args) > 2 or (len(args) == 2 and message is not None):
            raise TypeError("an AutomateError takes a code and a message")
        if len(args) == 2:
            code, message = args
        elif len(args) == 1 and message is None:
            message = args[0]
        elif len(args) == 1:
            code = args[0]
        if message is None:
            message = (type(self).__doc__ or "").strip().splitlines()[0]
        self.code = code if code is not None else self.default_code
        if retryable is not None:
            self.retryable = retryable
        self.message = redact_text(message)
        self.context: dict[str, Any] = redact(dict(context or {}))
        self.retry_after = _seconds(retry_after)
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), str(self.code), self.message, self.retryable, self.context, self.retry_after))


def _seconds(value: Any) -> float | None:
    """Read what another side asked for: a number of seconds, or nothing that can be waited for."""
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if seconds >= 0 else None


def _rebuild(
    cls: type[AutomateError],
    code: str,
    message: str,
    retryable: bool,
    context: dict[str, Any],
    retry_after: float | None,
) -> AutomateError:
    return cls(code=code, message=message, retryable=retryable, context=context, retry_after=retry_after)


_rebuild.__module__ = AutomateError.__module__  # a pickle names it, and may be read by another version than wrote it
