"""The connector: its actions, and what each takes."""

from __future__ import annotations

from typing import Any

from automate_core.connectors import ActionSpec, Connector
from automate_core.errors import UnknownActionError
from pydantic import BaseModel

__all__ = ["AcmeConnector"]


class Echo(BaseModel):
    """The input of ``acme.echo``."""

    text: str


class AcmeConnector(Connector):
    """Answers with what it was given. Replace ``echo`` by what your service can do."""

    key = "acme"
    display_name = "Acme"

    @classmethod
    def actions(cls) -> list[ActionSpec]:
        """Return the actions."""
        return [ActionSpec("echo", input_schema=Echo, output_schema=Echo, idempotent=True, title="Say it again")]

    def execute_action(self, action: str, input_data: dict[str, Any]) -> dict[str, Any]:
        """Run an action.

        Args:
            action: Its name.
            input_data: The validated input.

        Returns:
            The output, as JSON.
        """
        if action == "echo":
            return {"text": input_data["text"]}
        raise UnknownActionError(f"Acme has no action {action!r}.")
