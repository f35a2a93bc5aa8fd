"""What this distribution registers. Imported in every process that uses Automate, so it imports nothing heavy."""

from __future__ import annotations

from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec


@hookimpl
def automate_register_connectors() -> list[Spec]:
    """Register the connector; its module is imported when a workflow first uses it."""
    return [Spec("acme_weather", "automate_acme_weather.connector:AcmeWeather", "Acme Weather")]
