"""What automations may do: actions by pattern, calls by host, and how a tenant narrows both.

Plain functions of the settings. Nothing that a tenant's entry says allows what the installation does not: a call must
pass both.
"""

from __future__ import annotations

from dataclasses import dataclass

from automate_core import settings
from automate_core._action_patterns import ensure_pattern, matches
from automate_core.egress import EgressPolicy
from automate_core.errors import ConnectorNotAllowed
from automate_core.settings import PolicySettings, TenantPolicySettings

__all__ = [
    "EVERY_TENANT",
    "ActionPolicy",
    "EffectivePolicy",
    "current_policy",
    "effective_policy",
    "ensure_pattern",
    "matches",
]

EVERY_TENANT = "*"
"""The entry of ``POLICY.tenants`` for every tenant that has none of its own."""


@dataclass(frozen=True, slots=True)
class ActionPolicy:
    """Which actions may be called.

    Args:
        allow: Patterns, one of which must match.
        deny: Patterns of which none must match, whatever ``allow`` says.
        where: Where its lists are set, for error messages.
        also: Another policy that must allow the action too.
    """

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    where: str = "POLICY"
    also: ActionPolicy | None = None

    def allows(self, action: str) -> bool:
        """Whether an action may be called.

        Args:
            action: Its full name, ``"connector.action"``.
        """
        return self._refusal(action) is None

    def check(self, action: str) -> None:
        """Refuse an action that must not be called.

        Args:
            action: Its full name.

        Raises:
            ConnectorNotAllowed: If it is denied, or not on the allowlist; the message names the setting.
        """
        refusal = self._refusal(action)
        if refusal is None:
            return
        setting, remedy = refusal
        raise ConnectorNotAllowed(
            f"The policy does not allow {action!r}. {remedy}", context={"action": action, "setting": setting}
        )

    def _refusal(self, action: str) -> tuple[str, str] | None:
        denied = next((pattern for pattern in self.deny if matches(pattern, action)), None)
        if denied is not None:
            setting = f"{self.where}.connector_denylist"
            return setting, f"{setting} has {denied!r}, which counts before every allowlist."
        if not any(matches(pattern, action) for pattern in self.allow):
            setting = f"{self.where}.connector_allowlist"
            return setting, f"Add it, or '{action.partition('.')[0]}.*', to {setting}."
        return None if self.also is None else self.also._refusal(action)


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """What holds for the runs of a tenant.

    Args:
        entry: The entry of ``POLICY.tenants`` that narrows it; None where none does.
        actions: Which actions may be called.
        egress: Which URLs and addresses may be called.
        max_bytes: Largest answer to a call, in bytes.
    """

    entry: str | None
    actions: ActionPolicy
    egress: EgressPolicy
    max_bytes: int


def effective_policy(policy: PolicySettings, tenant: str = "") -> EffectivePolicy:
    """Return what holds for the runs of a tenant.

    Args:
        policy: The section ``POLICY``.
        tenant: The tenant; empty for runs of none, for which the installation's policy holds as it is.

    Returns:
        The installation's policy, and what the tenant's entry, or else that of every tenant, asks for beside it.
    """
    return _narrowed(policy, _entry(policy, tenant))


def _entry(policy: PolicySettings, tenant: str) -> str | None:
    if not tenant or not policy.tenants:
        return None
    return next((name for name in (tenant, EVERY_TENANT) if name in policy.tenants), None)


def _narrowed(policy: PolicySettings, entry: str | None) -> EffectivePolicy:
    actions, egress = None, None
    if entry is not None:
        own, where = policy.tenants[entry], f"POLICY.tenants.{entry}"
        allow = ("*",) if own.connector_allowlist is None else own.connector_allowlist
        actions = ActionPolicy(allow, own.connector_denylist, where)
        egress = _own_egress(own, where)
    return EffectivePolicy(
        entry,
        ActionPolicy(policy.connector_allowlist, policy.connector_denylist, also=actions),
        EgressPolicy(policy.allow_ssrf, policy.egress_allow, policy.egress_deny, policy.egress_only, also=egress),
        policy.egress_max_bytes,
    )


def _own_egress(own: TenantPolicySettings, where: str) -> EgressPolicy:
    # Without exceptions of its own, whether an address is special is left to the installation.
    return EgressPolicy(own.egress_allow is None, own.egress_allow or (), own.egress_deny, own.egress_only, where)


_known: tuple[PolicySettings, dict[str | None, EffectivePolicy]] | None = None


def current_policy(tenant: str = "") -> EffectivePolicy:
    """Return what holds for the runs of a tenant by the settings in force.

    Args:
        tenant: The tenant; empty for runs of none.
    """
    global _known
    policy = settings.current().policy
    known = _known
    if known is None or known[0] is not policy:
        # Of threads that find it out of date together each begins anew; whose is kept does not matter.
        known = _known = (policy, {})
    entry = _entry(policy, tenant)
    if entry not in known[1]:
        known[1][entry] = _narrowed(policy, entry)
    return known[1][entry]
