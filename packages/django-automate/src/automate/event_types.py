"""The event types that a project declares, and what their payloads look like.

A declaration is knowledge, not a gate: rules are checked against it, and payloads only where the project asks for it
with ``EVENTS.enforce_schemas``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from automate_core.errors import ConfigurationError, InvalidPayloadError
from automate_core.schema import find_problems, supported
from automate_core.workflow.events import is_event_type
from pydantic import BaseModel
from pydantic.errors import PydanticUserError

__all__ = ["EventType", "event_type", "event_types"]


@dataclass(frozen=True, slots=True)
class EventType:
    """A declared event type.

    Args:
        name: The type, such as ``"order.paid"``.
        schema: JSON Schema of its payload.
        origin: Where it is declared, for error messages.
    """

    name: str
    schema: Any
    origin: str

    @property
    def title(self) -> str:
        """One line for people: the title of the schema."""
        return str(self.schema.get("title", "")) if isinstance(self.schema, Mapping) else ""


class EventTypes:
    """The event types that this process's ``automations`` modules declare, by name."""

    def __init__(self) -> None:
        self._declared: dict[str, EventType] = {}

    def add(self, declared: EventType) -> None:
        """Remember a declaration.

        Args:
            declared: The event type.

        Raises:
            ConfigurationError: If another place declares it too.
        """
        known = self._declared.get(declared.name)
        if known is not None and known.origin != declared.origin:
            raise ConfigurationError(
                f"Event type {declared.name!r} is declared twice: in {known.origin} and in {declared.origin}. Keep one."
            )
        self._declared[declared.name] = declared

    def all(self) -> list[EventType]:
        """Return the event types, by name."""
        return [declared for _, declared in sorted(self._declared.items())]

    def schema_for(self, event: str) -> Any:
        """Return the schema of the payloads that a trigger is about.

        Args:
            event: An event type, or a pattern.

        Returns:
            The schema; None where the type is not declared, and for a pattern: types may fit it that nobody declared.
        """
        declared = self._declared.get(event)
        return None if declared is None else declared.schema

    def ensure_fits(self, name: str, payload: Any) -> None:
        """Refuse a payload that does not fit the schema of its type; one of a type that is not declared fits.

        Args:
            name: The event type.
            payload: The payload.

        Raises:
            InvalidPayloadError: If it does not fit; ``context["pointer"]`` says where, ``context["problems"]`` lists
                everything.
        """
        schema = self.schema_for(name)
        problems = [] if schema is None else find_problems(schema, payload)
        if problems:
            first, more = problems[0], f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
            raise InvalidPayloadError(
                f"The payload does not fit the schema of {name!r}: {first}{more}. Correct it, or the declaration in "
                f"{self._declared[name].origin}.",
                context={
                    "argument": "payload",
                    "pointer": first.pointer,
                    "problems": [{"pointer": found.pointer, "message": found.message} for found in problems],
                },
            )

    def clear(self) -> None:
        """Forget all of them."""
        self._declared.clear()


event_types = EventTypes()
"""What the ``automations`` modules of the installed apps declare."""


def event_type(name: str, schema: type[BaseModel] | Mapping[str, Any]) -> EventType:
    """Declare an event type, so that rules about it can be checked before any event comes.

    Args:
        name: The type, such as ``"order.paid"``.
        schema: What its payload looks like: a pydantic model, or a JSON Schema.

    Returns:
        The event type.

    Raises:
        ConfigurationError: If the name is none of an event type, the schema is not understood, or another place
            declares the type too.
    """
    if not is_event_type(name):
        raise ConfigurationError(
            f"{name!r} is not the name of an event type: join words of letters, digits, '_' and '-' by dots, such as "
            "'order.paid'."
        )
    caller = inspect.stack()[1]
    declared = EventType(
        name, _json_schema(name, schema), f"{caller.frame.f_globals.get('__name__', '?')}:{caller.lineno}"
    )
    event_types.add(declared)
    return declared


def _json_schema(name: str, schema: type[BaseModel] | Mapping[str, Any]) -> dict[str, Any]:
    try:
        if inspect.isclass(schema) and issubclass(schema, BaseModel):
            found = schema.model_json_schema()
        elif isinstance(schema, Mapping):
            found = dict(schema)
        else:
            raise ConfigurationError(f"pass a pydantic model or a JSON Schema, not {type(schema).__name__}.")
        supported(found)
    except (ConfigurationError, PydanticUserError) as error:
        raise ConfigurationError(f"Event type {name!r}: {error}") from error
    return found
