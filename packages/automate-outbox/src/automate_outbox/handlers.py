"""What to do with each kind of item. The worker registers handlers; the reaper tells them what died."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

from automate_core.errors import ConfigurationError, DuplicateKeyError, NotRegisteredError, nearby
from automate_core.outbox import OutboxItem

__all__ = [
    "JobHandler",
    "get_handler",
    "register_handler",
    "registered_kinds",
    "requeue_permission",
    "unregister_handler",
]

_CHANGE = "automate_outbox.change_outboxjob"
_METHODS = ("handle", "on_dead", "on_requeue")


class JobHandler(Protocol):
    """Handles the items of one kind.

    One with an attribute ``requeue_permission`` names the permission that requeueing its dead letters in the admin
    takes, instead of the change permission of the model.
    """

    @property
    def kind(self) -> str:
        """The kind of items that it handles."""
        ...

    def handle(self, item: OutboxItem, /) -> None:
        """Do what the item asks for, in any thread.

        When it returns, the worker completes the item, together with others. It may be called again for an item whose
        worker died in between.

        Args:
            item: The claimed item.

        Raises:
            AutomateError: Another attempt follows where it is retryable, after ``retry_after`` at the earliest.
            Exception: Any other error is tried again too, until the attempts of the item are used up.
        """
        ...

    def on_dead(self, item: OutboxItem, error: str, /) -> None:
        """Note that the item will never be tried again; runs in the transaction that fails it.

        Args:
            item: The item, as it was last claimed.
            error: Why, already redacted.
        """
        ...

    def on_requeue(self, payloads: Mapping[int, dict[str, Any]], /) -> Mapping[int, Mapping[str, Any]]:
        """Prepare dead items for being tried again; runs in the transaction that requeues them.

        Args:
            payloads: The payloads of the dead items, by id.

        Returns:
            The payloads that the items shall go on with, by id, unchanged or not; an item that is left out stays
            dead.
        """
        ...


_handlers: dict[str, JobHandler] = {}
_lock = threading.Lock()


def register_handler(handler: JobHandler) -> None:
    """Register the handler of a kind, for this process.

    Args:
        handler: The handler. The same object again is no error.

    Raises:
        ConfigurationError: If it lacks a method of :class:`JobHandler`, which would be missed when an item dies.
        DuplicateKeyError: If the kind has another handler.
    """
    missing = [name for name in _METHODS if not callable(getattr(handler, name, None))]
    if missing:
        raise ConfigurationError(
            f"The handler of {handler.kind!r}, {type(handler).__name__}, lacks {' and '.join(missing)}: write "
            f"{'it' if len(missing) == 1 else 'them'} as automate_outbox.handlers.JobHandler says.",
            context={"kind": handler.kind, "missing": missing},
        )
    with _lock:
        other = _handlers.setdefault(handler.kind, handler)
    if other is not handler:
        raise DuplicateKeyError(
            f"The kind {handler.kind!r} is handled already, by {type(other).__name__}: choose another kind.",
            context={"kind": handler.kind},
        )


def unregister_handler(kind: str) -> None:
    """Forget the handler of a kind; none is no error.

    Args:
        kind: The kind.
    """
    with _lock:
        _handlers.pop(kind, None)


def get_handler(kind: str) -> JobHandler:
    """Return the handler of a kind.

    Args:
        kind: The kind.

    Raises:
        NotRegisteredError: If there is none; the message names the kinds that have one.
    """
    handler = _handlers.get(kind)
    if handler is None:
        raise NotRegisteredError(f"Nothing handles {kind!r}.{nearby(kind, registered_kinds())}", context={"kind": kind})
    return handler


def registered_kinds() -> list[str]:
    """Return the kinds that have a handler, sorted: what a worker claims."""
    with _lock:
        return sorted(_handlers)


def requeue_permission(kind: str) -> str:
    """Return the permission that requeueing dead letters of a kind takes.

    Args:
        kind: The kind.
    """
    return str(getattr(_handlers.get(kind), "requeue_permission", _CHANGE))
