"""The registry: what plugins offer, by kind and key.

A :class:`Registry` is an object; tests build their own. :data:`registry` is the default one, filled from the installed
entry points at first use.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from automate_core import hookspecs, settings
from automate_core.errors import ConfigurationError, DuplicateKeyError, NotRegisteredError, PluginLoadError, nearby
from automate_core.plugins import FAILURES, PluginInfo, describe, load_plugins, load_target
from automate_core.specs import KINDS, Spec

if TYPE_CHECKING:
    from automate_core.connectors import ActionSpec, Connector

__all__ = ["Registered", "Registry", "registry"]

logger = logging.getLogger("automate.plugins")

_BROUGHT_BY = {
    ("connectors", "http"): "automate-connectors",
    ("connectors", "llm"): "automate-llm",
    ("connectors", "log"): "automate-connectors",
    ("connectors", "rag"): "automate-rag",
    ("connectors", "slack"): "automate-connectors",
}
"""What documented names are in, so that an error can say what to install."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A spec and who registered it.

    Args:
        spec: The registration.
        distribution: The distribution it came from; empty for one registered by hand.
    """

    spec: Spec
    distribution: str = ""


class Registry:
    """What plugins offer.

    Args:
        plugins: Modules or objects with hook implementations, beside the installed ones.
        load_entry_points: Whether the installed plugins are loaded too.
        blocked: Entry-point names that are never loaded; None asks the settings.
        prefer: Which distribution wins where two register one key, ``{"connectors.slack": "distribution"}``; None
            asks the settings.
    """

    def __init__(
        self,
        plugins: Sequence[object] = (),
        *,
        load_entry_points: bool = True,
        blocked: Iterable[str] | None = None,
        prefer: Mapping[str, str] | None = None,
    ) -> None:
        self._given = list(plugins)
        self._load_entry_points = load_entry_points
        self._blocked = blocked
        self._prefer = prefer
        self._lock = threading.RLock()
        self._infos: list[PluginInfo] | None = None
        self._loading = False
        self._kinds: dict[str, dict[str, Registered]] = {}
        self._by_hand: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._manager = self._new_manager()

    @staticmethod
    def _new_manager() -> pluggy.PluginManager:
        manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        manager.add_hookspecs(hookspecs)
        return manager

    # -- plugins ----------------------------------------------------------------------------------------------------

    def plugins(self) -> list[PluginInfo]:
        """Return every plugin with its state, loading them at the first call.

        Raises:
            PluginLoadError: If a plugin asks while it is imported itself.
        """
        with self._lock:
            if self._infos is None:
                if self._loading:
                    raise PluginLoadError(
                        "A plugin asked the registry while it was imported. Let it register in its hooks, and ask "
                        "inside of functions."
                    )
                self._loading = True
                try:
                    self._infos = self._load()
                finally:
                    self._loading = False
            return list(self._infos)

    def _load(self) -> list[PluginInfo]:
        self._manager = self._new_manager()  # an attempt that was interrupted has left its plugins in the last one
        blocked = settings.current().plugins.blocked if self._blocked is None else self._blocked
        infos = load_plugins(self._manager, blocked=set(blocked)) if self._load_entry_points else []
        for number, plugin in enumerate(self._given):
            name = getattr(plugin, "__name__", type(plugin).__name__)
            self._manager.register(plugin, name=f":{name}:{number}")
            infos.append(PluginInfo(name, "", "", "loaded", plugin=plugin))
        return infos

    def reset(self) -> None:
        """Forget the loaded plugins, so that the next call loads them again; registrations by hand stay."""
        with self._lock:
            self._infos = None
            self._kinds.clear()

    # -- lookups ----------------------------------------------------------------------------------------------------

    def specs(self, kind: str) -> dict[str, Registered]:
        """Return what plugins registered of one kind, by key; nothing is imported.

        Args:
            kind: One of :data:`automate_core.specs.KINDS`.

        Raises:
            DuplicateKeyError: If two plugins register one key and the settings prefer none of them.
        """
        return dict(self._specs(kind))

    def _specs(self, kind: str) -> Mapping[str, Registered]:
        if (found := self._kinds.get(kind)) is not None:
            return found
        if kind not in KINDS:
            raise ConfigurationError(f"{kind!r} is not a kind of plugin.{nearby(kind, KINDS)}")
        with self._lock:
            if kind not in self._kinds:
                self.plugins()
                self._kinds[kind] = self._collect(kind)
            return self._kinds[kind]

    def _collect(self, kind: str) -> dict[str, Registered]:
        found: dict[str, list[Registered]] = {}
        for implementation in reversed(getattr(self._manager.hook, f"automate_register_{kind}").get_hookimpls()):
            distribution = (self._manager.get_name(implementation.plugin) or ":").partition(":")[0]
            for spec in self._call(implementation):
                found.setdefault(spec.key, []).append(Registered(spec, distribution))
        return {key: self._choose(f"{kind}.{key}", offered) for key, offered in found.items()}

    def _choose(self, name: str, offered: list[Registered]) -> Registered:
        prefer = settings.current().plugins.prefer if self._prefer is None else self._prefer
        preferred = [registered for registered in offered if registered.distribution == prefer.get(name)]
        chosen = preferred or offered
        if len(offered) > 1 and not preferred:
            names = " and ".join(registered.distribution or "a local plugin" for registered in offered)
            kind, _, key = name.partition(".")
            raise DuplicateKeyError(
                f"{names} both register {name}. Block one with PLUGINS.blocked, or choose with "
                f"PLUGINS.prefer = {{'{name}': 'distribution'}}.",
                context={"kind": kind, "key": key},
            )
        return chosen[-1]

    def _call(self, implementation: pluggy.HookImpl) -> list[Spec]:
        try:
            function: Any = implementation.function
            specs = list(function())
            if not all(isinstance(spec, Spec) for spec in specs):
                raise TypeError(f"{function.__name__} must return a list of automate_core.specs.Spec")
        except FAILURES as error:
            self._mark_failed(implementation.plugin, describe(error))
            return []
        return specs

    def _mark_failed(self, plugin: object, reason: str) -> None:
        self._infos = [
            PluginInfo(info.name, info.distribution, info.version, "failed", reason) if info.plugin is plugin else info
            for info in self._infos or []
        ]

    def keys(self, kind: str) -> list[str]:
        """Return the sorted keys of one kind.

        Args:
            kind: One of :data:`automate_core.specs.KINDS`.
        """
        return sorted({*self.specs(kind), *self._by_hand[kind]})

    def load(self, kind: str, key: str) -> Any:
        """Import what is registered under a key.

        Args:
            kind: One of :data:`automate_core.specs.KINDS`.
            key: The key.

        Returns:
            The class (or whatever the target is).

        Raises:
            NotRegisteredError: If nothing is; the message names what exists nearby.
            PluginLoadError: If its import fails; the message names the extra to install.
        """
        specs = self._specs(kind)
        if (by_hand := self._by_hand[kind].get(key)) is not None:
            return by_hand
        if key not in specs:
            raise NotRegisteredError(
                f"No {kind.rstrip('s').replace('_', ' ')} {key!r} is registered.{self._remedy(kind, key)}",
                context={"kind": kind, "key": key},
            )
        spec = specs[key].spec
        return load_target(spec.target, requires=spec.requires, what=f"{kind}.{key}")

    def _remedy(self, kind: str, key: str) -> str:
        distribution = _BROUGHT_BY.get((kind, key))
        if distribution is None:
            return nearby(key, self.keys(kind))
        known = next((info for info in self.plugins() if info.distribution == distribution), None)
        if known is None:
            return f" Install what brings it: pip install {distribution}."
        return f" {distribution} brings it, but its plugin {known.name!r} is {known.state}. {known.reason}".rstrip()

    def add(self, kind: str, key: str, value: Any) -> None:
        """Register something by hand, for this process.

        Args:
            kind: One of :data:`automate_core.specs.KINDS`.
            key: The key, ``[a-z][a-z0-9_]*``.
            value: The class itself. The same class again is no error.

        Raises:
            DuplicateKeyError: If the key is taken by something else.
        """
        with self._lock:
            Spec(key, "by.hand:value")
            specs = self.specs(kind)
            if self._by_hand[kind].get(key, value) is not value or key in specs:
                raise DuplicateKeyError(f"{kind}.{key} is registered already.", context={"kind": kind, "key": key})
            self._by_hand[kind][key] = value

    def remove(self, kind: str, key: str) -> None:
        """Take back what :meth:`add` registered; nothing happens where there is none.

        Args:
            kind: One of :data:`automate_core.specs.KINDS`.
            key: The key.
        """
        with self._lock:
            self._by_hand.get(kind, {}).pop(key, None)

    # -- connectors -------------------------------------------------------------------------------------------------

    def register(self, key: str, connector: type[Connector]) -> None:
        """Register a connector by hand.

        Args:
            key: Its key.
            connector: The class.

        Raises:
            DuplicateKeyError: If the key is taken.
        """
        self.add("connectors", key, connector)

    def get_connector(self, key: str) -> type[Connector]:
        """Return the class of a connector, importing it at first use.

        Args:
            key: Its key.

        Raises:
            NotRegisteredError: If there is none.
            PluginLoadError: If its import fails.
        """
        connector: type[Connector] = self.load("connectors", key)
        return connector

    def list_connectors(self) -> list[str]:
        """Return the sorted keys of the connectors."""
        return self.keys("connectors")

    def get_action(self, name: str) -> tuple[type[Connector], ActionSpec]:
        """Find an action by its full name.

        Args:
            name: ``"connector.action"``.

        Returns:
            The connector's class and the action's spec.

        Raises:
            NotRegisteredError: If there is no such connector.
            UnknownActionError: If the connector has no such action.
            PluginLoadError: If the connector cannot be imported.
        """
        key, dot, action = name.partition(".")
        if not dot or not action:
            raise NotRegisteredError(f"{name!r} is not an action: write 'connector.action'.")
        connector = self.get_connector(key)
        return connector, connector.get_action(action)

    def list_actions(self) -> dict[str, ActionSpec]:
        """Return every action by its full name; connectors that cannot be imported, or asked, are left out."""
        found: dict[str, ActionSpec] = {}
        for key in self.list_connectors():
            try:
                found.update({f"{key}.{spec.name}": spec for spec in self.get_connector(key).actions()})
            except FAILURES as error:
                logger.info("The actions of the connector %s are left out: %s", key, describe(error))
        return found


registry = Registry()
"""The default registry."""
