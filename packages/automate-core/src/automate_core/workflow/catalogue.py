"""Where the checks of a definition look actions up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from automate_core.connectors import ActionSpec
    from automate_core.registry import Registry

__all__ = ["ActionCatalogue", "RegistryCatalogue"]


class ActionCatalogue(Protocol):
    """Knows the actions by their full names."""

    def get(self, name: str) -> ActionSpec:
        """Return the spec of an action.

        Args:
            name: ``"connector.action"``.

        Raises:
            AutomateError: If there is none; the message names what exists nearby.
        """
        ...


class RegistryCatalogue:
    """The actions of a registry.

    Args:
        registry: The registry; the default one where it is left out.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        if registry is None:
            from automate_core.registry import registry as default

            registry = default
        self._registry = registry

    def get(self, name: str) -> ActionSpec:
        """Return the spec of an action.

        Args:
            name: ``"connector.action"``.

        Raises:
            NotRegisteredError: If there is no such connector.
            UnknownActionError: If the connector has no such action.
            PluginLoadError: If the connector cannot be imported.
        """
        return self._registry.get_action(name)[1]
