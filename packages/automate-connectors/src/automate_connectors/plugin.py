"""What automate-connectors registers with the core."""

from __future__ import annotations

from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec

__all__ = ["automate_register_connectors"]


@hookimpl
def automate_register_connectors() -> list[Spec]:
    """Register the connectors of this package."""
    return [
        Spec("http", "automate_connectors.http:HTTP", "HTTP requests"),
        Spec("log", "automate_connectors.log:Log", "Log lines"),
        Spec("slack", "automate_connectors.slack:Slack", "Slack"),
    ]
