"""What automate-acme registers with the core. Nothing heavy is imported here: it is loaded in every process."""

from __future__ import annotations

from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec

__all__ = ["automate_register_connectors"]


@hookimpl
def automate_register_connectors() -> list[Spec]:
    """Register the connector."""
    return [Spec("acme", "automate_acme.connector:AcmeConnector", "Acme")]
