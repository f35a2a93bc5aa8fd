"""The registry that connectors are found in: :data:`automate_core.registry.registry`, under its documented name."""

from automate_core.registry import Registry, registry

__all__ = ["Registry", "registry"]
