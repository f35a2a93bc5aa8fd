"""What a connector is: a set of actions that a workflow step can call.

Everything that a step can do is an action of a connector, a decorated Python function included.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel

from automate_core._action_input import ensure_may_fit, holds_secret, read
from automate_core._secret_value import revealed
from automate_core.errors import AutomateError, InvalidInputError, PermanentError, UnknownActionError, nearby
from automate_core.redaction import redact_text

__all__ = ["ActionContext", "ActionSpec", "Connector", "TriggerSpec", "revealed"]


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action of a connector.

    Args:
        name: Its name within the connector, ``[a-z][a-z0-9_]*``.
        input_schema: What it takes: a JSON Schema (the vocabulary of :mod:`automate_core.schema`) as a mapping, or a
            pydantic model class.
        output_schema: What it returns, in the same two forms; None means any JSON value.
        idempotent: Whether calling it twice with one input has the effect of one call.
        title: One line for people.
        version: Raised when the meaning of the action changes; recorded with every workflow version that uses it.
        transactional: Whether it is called within the transaction that records its success, so that what it writes to
            the default database happens once however often it is tried. It must be synchronous.
        takes_secrets: Whether its parameters may name secrets. One that stores what it is given, or hands it on to
            others, takes none: such a step is neither published nor run.
    """

    name: str
    input_schema: Mapping[str, Any] | type[BaseModel] = field(default_factory=lambda: {"type": "object"})
    output_schema: Mapping[str, Any] | type[BaseModel] | None = None
    idempotent: bool = False
    title: str = ""
    version: str = "1"
    transactional: bool = False
    takes_secrets: bool = True

    def input_json_schema(self) -> dict[str, Any]:
        """Return the schema of the input as a JSON Schema."""
        return _json_schema(self.input_schema)

    def output_json_schema(self) -> dict[str, Any]:
        """Return the schema of the output as a JSON Schema; ``{}`` where any value may come."""
        return {} if self.output_schema is None else _json_schema(self.output_schema)

    def validate_input(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Check an input before the action is called.

        Args:
            data: The rendered parameters of the step; secrets are :class:`~automate_core.secrets.SecretValue`.

        Returns:
            The input as the action gets it: with a pydantic model, its JSON form including defaults. A secret stays a
            ``SecretValue`` in a field of that type, and pydantic's own in one of those; elsewhere it is the text.

        Raises:
            InvalidInputError: If it does not fit; ``context["pointer"]`` is a JSON pointer to the value.
        """
        return read(self.input_schema, data, what=f"the input of {self.name!r}")

    def ensure_may_fit(self, data: Mapping[str, Any]) -> None:
        """Refuse an input that is wrong whatever its secrets are, so that none of them is resolved for nothing.

        Args:
            data: The rendered parameters of the step; any :class:`~automate_core.secrets.SecretValue` stands for a
                secret that is not known yet.

        Raises:
            InvalidInputError: If it cannot fit; ``context["pointer"]`` is a JSON pointer to the value.
        """
        if not self.takes_secrets and holds_secret(dict(data)):  # the version may be older than the check of publishing
            raise InvalidInputError(f"{self.name!r} takes no secrets.", context={"pointer": ""})
        ensure_may_fit(self.input_schema, data, what=f"the input of {self.name!r}")


def _json_schema(schema: Mapping[str, Any] | type[BaseModel]) -> dict[str, Any]:
    return dict(schema) if isinstance(schema, Mapping) else schema.model_json_schema()


@dataclass(frozen=True, slots=True)
class TriggerSpec:
    """One trigger of a connector: something outside that becomes an event.

    Args:
        name: Its name within the connector.
        event_type: The type of the events that it emits.
        payload_schema: JSON Schema or pydantic model of their payload.
        title: One line for people.
    """

    name: str
    event_type: str = ""
    payload_schema: Mapping[str, Any] | type[BaseModel] = field(default_factory=lambda: {"type": "object"})
    title: str = ""


@dataclass(frozen=True, slots=True)
class ActionContext:
    """What an action may know about the step that calls it.

    Args:
        run_id: The run, as text.
        workflow: The slug of the workflow.
        step_id: The step.
        attempt: Number of this attempt, from 1.
        idempotency_key: The same for every attempt of this step in this run: hand it to the other side.
        tenant: The tenant of the event or of the run.
        timeout: Seconds that the attempt may take.
        deadline: ``time.monotonic()`` at which it times out.
        cancelled: Set when nobody waits for the result any more: the step timed out or the lease was lost.
    """

    run_id: str = ""
    workflow: str = ""
    step_id: str = ""
    attempt: int = 1
    idempotency_key: str = ""
    tenant: str = ""
    timeout: float = 60.0
    deadline: float = field(default_factory=lambda: time.monotonic() + 60.0)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that adds the run and the step to every line."""
        return logging.LoggerAdapter(
            logging.getLogger("automate.action"),
            {"run_id": self.run_id, "workflow": self.workflow, "step_id": self.step_id, "attempt": self.attempt},
        )

    def remaining(self) -> float:
        """Return the seconds until the deadline, 0 at least."""
        return max(0.0, self.deadline - time.monotonic())


class Connector:
    """Base class of every connector.

    A subclass names its :attr:`key`, lists its :meth:`actions`, and executes them. An action may be asynchronous:
    return a coroutine from :meth:`execute_action` (declare it ``async def``) and the runtime awaits it on the worker's
    event loop.

    Args:
        config: The settings of the connection; secrets in it are :class:`~automate_core.secrets.SecretValue`, and
            :func:`revealed` makes it fit for a pydantic model.
        ctx: The step that calls; None outside a run.
    """

    key: ClassVar[str] = ""
    """The name under which it is registered, and the first part of its actions' names."""

    display_name: ClassVar[str] = ""
    """Its name for people."""

    hosts: ClassVar[tuple[str, ...] | None] = ()
    """The hosts that its actions call by https, for judging a policy beforehand; None where that differs by step."""

    def __init__(self, config: Mapping[str, Any] | None = None, ctx: ActionContext | None = None) -> None:
        self.config: Any = {} if config is None else config
        self.ctx = ActionContext() if ctx is None else ctx

    @classmethod
    def actions(cls) -> Sequence[ActionSpec]:
        """Return the actions that it offers."""
        return []

    @classmethod
    def triggers(cls) -> Sequence[TriggerSpec]:
        """Return the triggers that it offers."""
        return []

    @classmethod
    def get_action(cls, name: str) -> ActionSpec:
        """Find one action.

        Args:
            name: Its name within the connector.

        Returns:
            Its spec.

        Raises:
            UnknownActionError: If there is none; the message names what exists nearby.
        """
        for spec in reversed(cls.actions()):  # of two of one name the later one counts, as in a dict
            if spec.name == name:
                return spec
        known = [spec.name for spec in cls.actions()]
        raise UnknownActionError(f"Connector {cls.key!r} has no action {name!r}.{nearby(name, known)}")

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        """Run one action.

        Args:
            action: Its name within the connector.
            input_data: The input, already validated against its schema.

        Returns:
            A JSON value, or a coroutine that returns one.

        Raises:
            UnknownActionError: If it does not execute this action.
            Exception: Whatever goes wrong; :meth:`normalize_error` turns it into an error of the tree.
        """
        raise UnknownActionError(f"Connector {self.key!r} does not execute {action!r}.")

    def normalize_error(self, exc: Exception) -> Exception:
        """Turn whatever :meth:`execute_action` raised into an error of the tree.

        Args:
            exc: The exception.

        Returns:
            The exception itself where it belongs to the tree already; otherwise a :class:`PermanentError`. Connectors
            override this to tell transient failures and rate limits apart.
        """
        if isinstance(exc, AutomateError):
            return exc
        return PermanentError(
            f"{type(exc).__name__}: {redact_text(exc)}", context={"exception": type(exc).__qualname__}
        )

    def call(self, action: str, input_data: Mapping[str, Any]) -> Any:
        """Validate the input, run one action and normalise its error, as the runtime does.

        Args:
            action: Its name within the connector.
            input_data: The input, as rendered; its secrets are :class:`~automate_core.secrets.SecretValue`.

        Returns:
            What the action returned; the coroutine of an asynchronous action is returned unawaited, guarded alike.

        Raises:
            AutomateError: Whatever went wrong, normalised, with the original as its cause.
        """
        data = self.get_action(action).validate_input(input_data)
        try:
            result = self.execute_action(action, data)
        except Exception as exc:
            error = self.normalize_error(exc)
            if error is exc:
                raise
            raise error from exc
        # inspect.isawaitable() would ask an abstract base class, at more than the cost of a short action.
        return self._guard(result) if hasattr(type(result), "__await__") else result

    async def _guard(self, awaitable: Any) -> Any:
        try:
            return await awaitable
        except Exception as exc:
            error = self.normalize_error(exc)
            if error is exc:
                raise
            raise error from exc
