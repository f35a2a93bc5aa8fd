"""What a connector is made of, and the base of those that speak HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, TypeVar

from automate_core.connectors import ActionContext, ActionSpec, Connector, TriggerSpec, revealed
from automate_core.errors import AutomateError, ConfigurationError, TransientError
from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from automate_connectors.egress import EgressClient

__all__ = ["ActionContext", "ActionSpec", "Connector", "HTTPConnector", "TriggerSpec"]

Config = TypeVar("Config", bound=BaseModel)


class HTTPConnector(Connector):
    """Base of a connector that calls an HTTP API through the one egress client.

    One that always calls the same hosts names them in :attr:`hosts`.
    """

    hosts: ClassVar[tuple[str, ...] | None] = None

    def egress(self) -> EgressClient:
        """Return the client to call with, under the policy of the run's tenant; tests override it."""
        from automate_connectors.egress import egress_client  # httpx2 costs 0.2 s to import

        return egress_client(self.ctx.tenant)

    def timeout(self, seconds: float | None = None) -> float:
        """Return the seconds that a call may take: no more than the step has left.

        Args:
            seconds: What the action asks for; None asks for all that is left.

        Raises:
            TransientError: If nothing is left, or nobody waits for the result any more.
        """
        left = self.ctx.remaining()
        if left <= 0 or self.ctx.cancelled.is_set():
            raise TransientError("The step has no time left for the call.")
        return left if seconds is None else min(seconds, left)

    def settings(self, model: type[Config]) -> Config:
        """Read the settings of the connection. Called by actions: a connector is constructed with any.

        Args:
            model: What they must look like.

        Raises:
            ConfigurationError: If they do not; values are not repeated in the message.
        """
        if not isinstance(self.config, Mapping):
            raise ConfigurationError(f"The settings of the {self.key!r} connection must be a mapping.")
        try:
            return model.model_validate(revealed(dict(self.config)))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigurationError(f"The {self.key!r} connection: {where}: {first['msg']}") from None

    def normalize_error(self, exc: Exception) -> Exception:
        """Turn an exception into one of the tree; what the operating system raises may pass.

        Args:
            exc: The exception.
        """
        if isinstance(exc, OSError) and not isinstance(exc, AutomateError):
            return TransientError(f"{type(exc).__name__}: {exc}")
        return super().normalize_error(exc)
