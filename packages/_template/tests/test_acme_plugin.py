"""The installed distribution registers its connector, and the connector keeps the contract."""

from __future__ import annotations

import pytest
from automate_core.errors import InvalidInputError
from automate_core.registry import Registry


def test_the_entry_point_registers_the_connector() -> None:
    registry = Registry()
    plugin = next(info for info in registry.plugins() if info.distribution == "automate-acme")
    assert (plugin.name, plugin.state) == ("acme", "loaded")
    assert registry.specs("connectors")["acme"].distribution == "automate-acme"


def test_the_action_runs_by_its_full_name() -> None:
    connector, action = Registry().get_action("acme.echo")
    assert connector().call(action.name, {"text": "hello"}) == {"text": "hello"}


def test_input_that_does_not_fit_is_refused() -> None:
    connector, _ = Registry().get_action("acme.echo")
    with pytest.raises(InvalidInputError):
        connector().call("echo", {})
