"""The section ``POLICY``; public as :mod:`automate_core.settings`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from automate_core._action_patterns import ensure_pattern
from automate_core._section import Section
from automate_core.errors import ConfigurationError

__all__ = ["Money", "PolicySettings", "TenantPolicySettings"]

Money = Annotated[Decimal, BeforeValidator(lambda value: Decimal(str(value)) if isinstance(value, float) else value)]
"""US dollars. A float is read through its text, so that 10.1 means 10.1."""


class _PolicyLists(Section):
    """The lists that an installation and each of its tenants may have."""

    connector_denylist: tuple[str, ...] = Field(
        (), description="Connectors and actions that must not be used, in the same forms; counts before the allowlist."
    )
    egress_deny: tuple[str, ...] = Field(
        (), description='Hosts that must not be called: "host", "*.domain", an address, each with ":port" or without; '
        "networks. Counts before every other list."
    )  # fmt: skip
    egress_only: tuple[str, ...] = Field(
        (), description="Where it is not empty, no other hosts may be called; in the same forms. It opens no private "
        "address: that is for egress_allow."
    )  # fmt: skip

    @field_validator("connector_allowlist", "connector_denylist", check_fields=False)
    @classmethod
    def _patterns_are_well_formed(cls, patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for pattern in patterns or ():
            try:
                ensure_pattern(pattern)
            except ConfigurationError as error:
                raise ValueError(error.message) from None
        return patterns

    @field_validator("egress_allow", "egress_deny", "egress_only", check_fields=False)
    @classmethod
    def _egress_entries_are_well_formed(
        cls, entries: tuple[str, ...] | None, info: ValidationInfo
    ) -> tuple[str, ...] | None:
        from automate_core.egress.rules import parse_hosts

        try:
            parse_hosts(entries or (), "", vouches=info.field_name == "egress_allow")
        except ConfigurationError as error:
            raise ValueError(error.message.removeprefix(": ")) from None
        return entries


class TenantPolicySettings(_PolicyLists):
    """What one tenant's automations may do: it narrows what the installation allows, and never widens it."""

    connector_allowlist: tuple[str, ...] | None = Field(
        None, description="Of the connectors and actions that the installation allows, these alone."
    )
    egress_allow: tuple[str, ...] | None = Field(
        None, description="Of the exceptions that the installation makes to the SSRF protection, these alone."
    )


class PolicySettings(_PolicyLists):
    """What automations may do."""

    allow_ssrf: bool = Field(False, description="Allow HTTP calls to private and special addresses.")
    egress_allow: tuple[str, ...] = Field(
        (), description='Exceptions to that: "host:port", "address:port" or networks such as "10.1.0.0/16".'
    )
    egress_max_bytes: int = Field(
        10_485_760, gt=0, description="Largest answer to an HTTP call of a connector, decompressed, in bytes."
    )
    connector_allowlist: tuple[str, ...] = Field(
        ("*",), description='Connectors and actions that may be used: "*", "slack", "http.*", "slack.post_message".'
    )
    tenants: dict[str, TenantPolicySettings] = Field(
        default_factory=dict,
        description='Narrower policies by tenant; "*" is for every tenant that is not named. Runs of no tenant have '
        "the installation's.",
    )
    llm_budget_daily: Money = Field(Decimal("10.00"), ge=0, description="Hard cap on LLM spend per day, in USD.")
