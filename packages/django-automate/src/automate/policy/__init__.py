"""What automations may do, by the settings in force: actions, calls, and whether anything runs at all.

The pure rules are in :mod:`automate_core.policy`. :mod:`automate.policy.switch` stops everything within seconds;
:mod:`automate.policy.replay` asks a policy about what has run.
"""

from __future__ import annotations

from collections.abc import Iterable

from automate_core.errors import ConnectorNotAllowed
from automate_core.policy import current_policy

__all__ = ["ensure_allowed", "is_allowed", "refusals"]


def is_allowed(action: str, tenant: str = "") -> bool:
    """Whether an action may be called.

    Args:
        action: Its full name, ``"connector.action"``.
        tenant: The tenant of the run; empty for none.
    """
    return current_policy(tenant).actions.allows(action)


def ensure_allowed(action: str, tenant: str = "") -> None:
    """Refuse an action that must not be called.

    Args:
        action: Its full name.
        tenant: The tenant of the run; empty for none.

    Raises:
        ConnectorNotAllowed: If a denylist names it or an allowlist does not; the message says which.
    """
    current_policy(tenant).actions.check(action)


def refusals(actions: Iterable[str], tenant: str = "") -> list[str]:
    """Say of which actions a step would fail by the policy.

    Args:
        actions: Their full names.
        tenant: The tenant of the runs; empty for those of every tenant, which may be narrower.

    Returns:
        A message for each action that is refused.
    """
    found = []
    for action in dict.fromkeys(actions):
        try:
            ensure_allowed(action, tenant)
        except ConnectorNotAllowed as error:
            found.append(error.message)
    return found
