"""The contract of a connector, as a class of tests to subclass.

No more than this makes it run over a connector::

    class TestWeather(ConnectorContract):
        connector = Weather
        config = {"base_url": "http://127.0.0.1:8099", "token": "s3cret-value"}
        secrets = ("s3cret-value",)
        inputs = {"current": {"city": "Oslo"}}

pytest collects the subclass. What only exists while a test runs (the port of a server) is set on ``self`` by an
autouse fixture of the subclass.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from automate_core._action_input import validate
from automate_core.connectors import ActionSpec, Connector
from automate_core.errors import AutomateError, InvalidInputError, RateLimited, TransientError, UnknownActionError
from automate_core.schema import supported

__all__ = ["ConnectorContract"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class ConnectorContract:
    """What the runtime relies on in every connector."""

    connector: type[Connector]
    """The class under test."""

    config: Mapping[str, Any] = {}
    """Settings with which its actions succeed."""

    secrets: Sequence[str] = ()
    """The values in :attr:`config` that must never show."""

    inputs: Mapping[str, Mapping[str, Any]] = {}
    """For every action, an input with which it succeeds."""

    registered: bool = True
    """Whether an installed plugin registers the class under its key."""

    def make(self) -> Connector:
        """Return a connector with the settings of the contract."""
        return self.connector(config=self.config)

    def run(self, action: str) -> Any:
        """Call an action with its input, as the runtime does, and return its output.

        Args:
            action: Its name within the connector.
        """
        result = self.make().call(action, self.inputs[action])
        return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result

    # -- what it says about itself ------------------------------------------------------------------------------------

    def test_has_a_key_and_a_name(self) -> None:
        """Its key is one that workflows can write, and people get a name."""
        _require(_NAME.fullmatch(self.connector.key), f"{self.connector.key!r} is not lower case letters, digits and _")
        _require(self.connector.display_name, "display_name is empty")

    def test_is_registered_under_its_key(self) -> None:
        """An installed plugin registers it, so that workflows find it."""
        from automate_core.registry import registry

        if self.registered:
            found = registry.get_connector(self.connector.key)
            _require(found is self.connector, f"{self.connector.key!r} is registered for {found!r}")

    def test_offers_something(self) -> None:
        """It has actions or triggers, each name once."""
        actions = [spec.name for spec in self.connector.actions()]
        triggers = [spec.name for spec in self.connector.triggers()]
        _require(actions or triggers, "there is neither an action nor a trigger")
        for name in {*actions, *triggers}:
            _require(_NAME.fullmatch(name), f"{name!r} is not lower case letters, digits and _")
        _require(len(actions) == len(set(actions)), f"an action is listed twice: {actions}")
        _require(len(triggers) == len(set(triggers)), f"a trigger is listed twice: {triggers}")

    def test_schemas_are_understood(self) -> None:
        """Every schema is an object schema of the supported vocabulary, and plain JSON."""
        for spec in self.connector.actions():
            for schema in (spec.input_json_schema(), spec.output_json_schema()):
                supported(schema)
                json.dumps(schema, allow_nan=False)
            kind = spec.input_json_schema().get("type", "object")
            _require(kind == "object", f"the input of {spec.name!r} must be an object, not {kind!r}")

    def test_listing_is_the_same_every_time(self) -> None:
        """Two calls list the same actions: a published workflow is checked against them."""
        first, second = (_listing(self.connector) for _ in range(2))
        _require(first == second, "actions() lists something else the second time")

    # -- construction -------------------------------------------------------------------------------------------------

    def test_is_constructed_without_settings(self) -> None:
        """Construction reads no settings and calls nobody; an action that lacks some says so itself."""
        self.connector()
        self.connector(config={}, ctx=None)
        wrong: Any = {...}
        self.connector(config=wrong)

    def test_its_text_shows_no_secret(self) -> None:
        """Neither repr nor str of a connector shows what its settings hold."""
        connector = self.make()
        for shown in (repr(connector), str(connector), f"{connector}"):
            for secret in self.secrets:
                _require(secret not in shown, "a secret of the settings shows in the connector's repr or str")

    # -- calls --------------------------------------------------------------------------------------------------------

    def test_every_action_has_an_input(self) -> None:
        """The contract is run over every action."""
        listed = {spec.name for spec in self.connector.actions()}
        _require(listed == set(self.inputs), f"inputs is for {sorted(self.inputs)}, the actions are {sorted(listed)}")

    def test_actions_return_json_that_fits_their_schema(self) -> None:
        """Each action returns what its output schema promises, as JSON, without secrets."""
        for spec in self.connector.actions():
            output = self.run(spec.name)
            text = json.dumps(output, allow_nan=False)
            _require(json.loads(text) == output, f"the output of {spec.name!r} changes when it goes through JSON")
            if spec.output_schema is not None:
                validate(spec.output_schema, output, what=f"the output of {spec.name!r}")
            for secret in self.secrets:
                _require(secret not in text, f"a secret of the settings is in the output of {spec.name!r}")

    def test_an_unknown_action_is_refused(self) -> None:
        """An action that is not listed raises UnknownActionError, and the message names what exists."""
        error = _raised(self.make().call, "no_such_action", {})
        _require(isinstance(error, UnknownActionError), f"an unknown action raised {error!r}")
        error = _raised(self.make().execute_action, "no_such_action", {})
        _require(error is not None, "execute_action accepts an action that is not listed")

    def test_a_missing_field_is_refused_before_the_call(self) -> None:
        """An input without a required field never reaches the action."""
        for spec in self.connector.actions():
            for name in spec.input_json_schema().get("required", ()):
                data = {key: value for key, value in self.inputs[spec.name].items() if key != name}
                error = _raised(self.make().call, spec.name, data)
                _require(isinstance(error, InvalidInputError), f"{spec.name!r} without {name!r} raised {error!r}")

    def test_every_error_is_normalised(self) -> None:
        """normalize_error returns an error of the tree for anything, and keeps what decides about retries."""
        connector = self.make()
        for exc in (ValueError("x"), KeyError("x"), OSError("x"), TimeoutError("x"), RuntimeError(), Exception("x")):
            error = connector.normalize_error(exc)
            _require(isinstance(error, AutomateError), f"{exc!r} was normalised to {error!r}")
        for known in (TransientError("x"), RateLimited("x", retry_after=7.0), InvalidInputError("x")):
            error = connector.normalize_error(known)
            _require(isinstance(error, AutomateError), f"{known!r} was normalised to {error!r}")
            kept = (getattr(error, "retryable", None), getattr(error, "retry_after", None))
            _require(kept == (known.retryable, known.retry_after), f"{known!r} lost retryable or retry_after")


def _listing(connector: type[Connector]) -> list[tuple[str, dict[str, Any], dict[str, Any], bool, str]]:
    def described(spec: ActionSpec) -> tuple[str, dict[str, Any], dict[str, Any], bool, str]:
        return spec.name, spec.input_json_schema(), spec.output_json_schema(), spec.idempotent, spec.version

    return [described(spec) for spec in connector.actions()]


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _raised(call: Callable[..., Any], *args: Any) -> Exception | None:
    try:
        result = call(*args)
        if inspect.isawaitable(result):
            asyncio.run(_awaited(result))
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is looked at
        return error
    return None


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise AssertionError(message)
