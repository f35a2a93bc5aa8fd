"""What django-automate registers."""

from __future__ import annotations

from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec

__all__ = ["automate_register_commands", "automate_register_connectors"]


@hookimpl
def automate_register_connectors() -> list[Spec]:
    """Register the ``flow`` actions."""
    return [Spec("flow", "automate.flow:FlowConnector", "Flow control within a workflow")]


@hookimpl
def automate_register_commands() -> list[Spec]:
    """Register ``automate up``."""
    return [Spec("up", "automate.up.command:UpCommand", "From nothing to a first run")]
