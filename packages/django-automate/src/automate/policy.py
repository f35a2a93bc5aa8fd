"""What automations may do."""

from __future__ import annotations

from fnmatch import fnmatchcase

from automate_core import settings
from automate_core.errors import ConnectorNotAllowed

__all__ = ["ensure_allowed", "is_allowed"]


def is_allowed(action: str) -> bool:
    """Whether ``POLICY.connector_allowlist`` lets an action be called.

    Args:
        action: Its full name, ``"connector.action"``.
    """
    connector = action.partition(".")[0]
    return any(
        fnmatchcase(action if "." in pattern else connector, pattern)
        for pattern in settings.current().policy.connector_allowlist
    )


def ensure_allowed(action: str) -> None:
    """Refuse an action that is not on the allow-list.

    Args:
        action: Its full name.

    Raises:
        ConnectorNotAllowed: If ``POLICY.connector_allowlist`` does not name it.
    """
    if not is_allowed(action):
        raise ConnectorNotAllowed(
            f"The policy does not allow {action!r}. Add it, or '{action.partition('.')[0]}.*', to "
            f"POLICY.connector_allowlist.",
            context={"action": action},
        )
