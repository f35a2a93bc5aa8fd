"""What automate-core registers."""

from __future__ import annotations

from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec

__all__ = ["automate_register_commands"]


@hookimpl
def automate_register_commands() -> list[Spec]:
    """Register ``automate plugins``."""
    return [Spec("plugins", "automate_core.cli:PluginsCommand", "List the installed plugins")]
