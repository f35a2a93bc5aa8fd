"""Python functions as actions.

``@action("billing.make_invoice")`` makes a function an action of the connector ``billing``, which exists for this
process; its parameters are the schema of the input.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, ParamSpec, TypeVar, get_type_hints

from automate_core.connectors import ActionContext, ActionSpec, Connector
from automate_core.errors import ConfigurationError, DuplicateKeyError, TransientError
from automate_core.registry import Registry, registry
from pydantic import BaseModel, ConfigDict, Field, create_model

__all__ = ["FunctionConnector", "action", "action_name"]

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Function:
    spec: ActionSpec
    model: type[BaseModel]
    call: Callable[..., Any]
    context_parameter: str
    parameters: Mapping[str, str]
    """The parameters, each with the field of the model that holds it."""


class FunctionConnector(Connector):
    """The connector that holds the decorated functions of one prefix."""

    functions: ClassVar[dict[str, _Function]] = {}

    @classmethod
    def actions(cls) -> Sequence[ActionSpec]:
        """Return one action for each function."""
        return [function.spec for function in cls.functions.values()]

    @classmethod
    def get_action(cls, name: str) -> ActionSpec:
        """Find one function's action.

        Args:
            name: Its name without the prefix.

        Raises:
            UnknownActionError: If there is none; the message names what exists nearby.
        """
        function = cls.functions.get(name)
        return super().get_action(name) if function is None else function.spec

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        """Call the function with its own types.

        Args:
            action: Its name without the prefix.
            input_data: The validated input.

        Returns:
            What it returns; a coroutine where it is ``async def``.
        """
        function = self.functions[action]
        values = function.model.model_validate(input_data)
        arguments = {name: getattr(values, field) for name, field in function.parameters.items()}
        arguments.update(values.model_extra or {})
        if function.context_parameter:
            arguments[function.context_parameter] = self.ctx
        return function.call(**arguments)

    def normalize_error(self, exc: Exception) -> Exception:
        """Make a database that is away or locked a transient error.

        Args:
            exc: What the function raised.

        Returns:
            An error of the tree.
        """
        from automate.runtime.connections import AWAY

        if isinstance(exc, AWAY):
            return TransientError(f"{type(exc).__name__}: {exc}", context={"exception": type(exc).__qualname__})
        return super().normalize_error(exc)


def action(
    name: str,
    *,
    idempotent: bool = False,
    transactional: bool = False,
    title: str = "",
    version: str = "1",
    registry: Registry = registry,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function an action that workflow steps can call.

    The function stays what it was and can be called as ever. Its parameters need names; annotations are enforced by
    pydantic before it is called, and what it returns is stored as JSON. A parameter annotated with
    :class:`~automate_core.connectors.ActionContext` is given the step's context. It may be ``async def``.

    Args:
        name: ``"prefix.name"``, in lower case.
        idempotent: Whether calling it twice with one input has the effect of one call.
        transactional: Whether it is called within the transaction that records its success: what it writes to the
            default database happens once, however often the step is tried. Its locks are held until it returns, so
            it should be short and call nobody else. It cannot be ``async def``.
        title: One line for people; the first line of the docstring unless given.
        version: Raised when its meaning changes; recorded with each workflow version that uses it.
        registry: Where it is registered.

    Returns:
        A decorator.

    Raises:
        ConfigurationError: If the name or a parameter cannot be used.
        DuplicateKeyError: If the name is taken by another function, or the prefix by a plugin.
    """
    if not isinstance(name, str):
        raise ConfigurationError("@action needs the name of the action: write @action('prefix.name').")
    prefix, dot, short = name.partition(".")
    if not dot or not short.isidentifier() or name != name.lower():
        raise ConfigurationError(f"{name!r} is not the name of an action: write 'prefix.name' in lower case.")

    def register(function: Callable[P, R]) -> Callable[P, R]:
        if transactional and inspect.iscoroutinefunction(function):
            raise ConfigurationError(f"Action {name!r}: a transaction belongs to one thread, so it cannot be async.")
        model, context_parameter = _input_model(name, function)
        first_line = (inspect.getdoc(function) or "").partition("\n")[0]
        spec = ActionSpec(
            short,
            model,
            idempotent=idempotent,
            title=title or first_line,
            version=version,
            transactional=transactional,
        )
        parameters = {str(field.alias): key for key, field in model.model_fields.items()}
        _add(registry, prefix, short, _Function(spec, model, function, context_parameter, parameters))
        function.__automate_action__ = name  # type: ignore[attr-defined]  # a mark, read by action_name
        return function

    return register


def action_name(target: str | Callable[..., Any]) -> str:
    """Return the name of an action.

    Args:
        target: The name itself, or a decorated function.

    Raises:
        ConfigurationError: If the function is not decorated with :func:`action`.
    """
    if isinstance(target, str):
        return target
    name = getattr(target, "__automate_action__", None)
    if name is None:
        label = getattr(target, "__qualname__", repr(target))
        raise ConfigurationError(f"{label} is not an action: decorate it with @action('prefix.name').")
    return str(name)


def _add(registry: Registry, prefix: str, short: str, function: _Function) -> None:
    with _lock:
        connector: Any = registry.get_connector(prefix) if prefix in registry.list_connectors() else None
        if connector is None:
            connector = type(
                f"{prefix.title().replace('_', '')}Functions",
                (FunctionConnector,),
                {"key": prefix, "display_name": prefix, "functions": {}},
            )
            registry.register(prefix, connector)
        elif not issubclass(connector, FunctionConnector):
            raise DuplicateKeyError(f"The prefix {prefix!r} belongs to the connector {connector.__qualname__}.")
        known = connector.functions.get(short)
        if known is not None and _origin(known.call) != _origin(function.call):
            raise DuplicateKeyError(
                f"Action '{prefix}.{short}' is defined twice: {_origin(known.call)} and {_origin(function.call)}."
            )
        connector.functions[short] = function


def _origin(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _input_model(name: str, function: Callable[..., Any]) -> tuple[type[BaseModel], str]:
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise ConfigurationError(
            f"Action {name!r}: an annotation cannot be read: {error}. Import its type at the top of the module."
        ) from error
    fields: dict[str, Any] = {}
    context_parameter, extra = "", "forbid"
    for parameter in inspect.signature(function).parameters.values():
        kind = parameter.kind
        if kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise ConfigurationError(f"Action {name!r}: parameter {parameter.name!r} has no name to be given by.")
        if hints.get(parameter.name) is ActionContext:
            context_parameter = parameter.name
        elif kind is parameter.VAR_KEYWORD:
            extra = "allow"
        else:
            default = ... if parameter.default is parameter.empty else parameter.default
            # The name is an alias: as a field, "json" or "model_config" would get into the way of pydantic's own.
            fields[f"field_{len(fields)}"] = (hints.get(parameter.name, Any), Field(default, alias=parameter.name))
    config = ConfigDict(extra=extra, arbitrary_types_allowed=False)  # type: ignore[typeddict-item]  # a literal
    try:
        model = create_model(f"{function.__name__}_input", __config__=config, **fields)
        model.model_json_schema()
    except Exception as error:
        raise ConfigurationError(f"Action {name!r}: its parameters cannot be described: {error}") from error
    return model, context_parameter
