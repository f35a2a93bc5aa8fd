"""The documented imports, in whatever order, and what the plugin registers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from automate_core.errors import NotRegisteredError, UnknownActionError

ORDERS = [
    "from automate_connectors import registry; from automate_connectors.registry import registry as other",
    "from automate_connectors.registry import registry; from automate_connectors import registry as other",
    "import automate_connectors.registry; from automate_connectors import registry, registry as other",
    "import automate_connectors as a, automate_connectors.registry; registry = a.registry; "
    "from automate_connectors.registry import registry as other",
]


@pytest.mark.parametrize("order", ORDERS)
def test_the_registry_is_the_object_in_every_order_of_imports(order: str) -> None:
    check = (
        "from automate_core.registry import Registry, registry as core\n"
        "assert isinstance(registry, Registry) and registry is other is core\n"
        "import sys\n"
        "assert {'http', 'log', 'slack'} <= set(registry.list_connectors())\n"
        "registry.get_connector('slack')(config={...}, ctx=None)\n"
        "registry.get_action('http.request')\n"
        "heavy = [name for name in sys.modules if name.partition('.')[0] in ('httpx2', 'httpcore2', 'django')]\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", f"{order}\n{check}"], check=True)


def test_the_documented_names_are_there() -> None:
    from automate_connectors import Connector
    from automate_connectors.base import ActionContext, ActionSpec, TriggerSpec
    from automate_connectors.base import Connector as same
    from automate_core import connectors

    assert Connector is same is connectors.Connector
    assert (ActionContext, ActionSpec) == (connectors.ActionContext, connectors.ActionSpec)
    assert TriggerSpec is connectors.TriggerSpec


def test_what_does_not_exist_is_named_with_what_does() -> None:
    from automate_connectors import registry

    with pytest.raises(NotRegisteredError, match="Did you mean 'slack'"):
        registry.get_connector("slak")
    with pytest.raises(UnknownActionError, match="Did you mean 'post_message'"):
        registry.get_action("slack.post_mesage")


@pytest.mark.parametrize("key", ["http", "log", "slack"])
def test_a_context_is_optional_and_any_settings_construct(key: str) -> None:
    from automate_connectors import registry

    wrong: Any = {...}
    for connector in (registry.get_connector(key)(), registry.get_connector(key)(config=wrong, ctx=None)):
        assert connector.ctx.attempt == 1
        with pytest.raises(UnknownActionError, match=key):
            connector.execute_action("no_such_action", {})
