"""The sections ``SECRETS`` and ``AUDIT``, which hold keys; public as :mod:`automate_core.settings`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from automate_core._backend_settings import AwsSettings, VaultSettings
from automate_core._secret_access import SecretRule
from automate_core._secret_ref import is_reference
from automate_core._section import Section
from automate_core.redaction import remember

__all__ = ["AuditSettings", "SecretSettings"]


class SecretSettings(Section):
    """Where secrets come from."""

    backend: str = Field(
        "env", description='What $secret: means: "env", "db", "vault", "aws" or the dotted path of a backend class.'
    )
    prefix: str = Field("AUTOMATE_", description="Prefix of the environment variables that $secret: reads with env.")
    allow: tuple[str, ...] = Field(("*",), description='References that may be resolved, such as "$secret:*".')
    access: tuple[SecretRule, ...] = Field(
        (), description="Which steps may use which secrets; what no rule is about follows SECRETS.allow alone."
    )
    shared: tuple[str, ...] = Field(
        (), description="References that the runs of a tenant read from the installation where the tenant has none."
    )
    keys: dict[str, str] = Field(
        default_factory=dict,
        repr=False,
        description="Key-encryption keys of the db backend by id: 32 bytes in base64, an $env: reference, file:/path, "
        "vault-transit:mount/key, or aws-kms: with the ARN, id or alias of a key.",
    )
    active_key: str = Field("", description="The id of the key that encrypts new secrets; empty takes the last one.")
    cache_seconds: float = Field(
        60.0, ge=0, description="How long a value is used before its backend is asked again; 0 always asks."
    )
    cache_missing_seconds: float = Field(
        5.0, ge=0, description="How long a secret that was not found is taken to be missing; 0 always asks."
    )
    cache_stale_seconds: float = Field(
        0.0, ge=0, description="How much longer a value is used while its backend cannot be asked; 0 never."
    )
    cache_entries: int = Field(1000, gt=0, description="Answers that are kept, those used last.")
    vault: VaultSettings = Field(default_factory=VaultSettings, description="The backend vault.")
    aws: AwsSettings = Field(default_factory=AwsSettings, description="The backend aws.")

    @field_validator("keys")
    @classmethod
    def _keys_are_hidden(cls, keys: dict[str, str]) -> dict[str, str]:
        for key in keys.values():
            if not is_reference(key) and not key.startswith(("file:", "vault-transit:", "aws-kms:")):
                remember(key)
        return keys


class AuditSettings(Section):
    """The keys of the audit log. Without one, whoever can write the table can also write what fits it."""

    keys: dict[str, str] = Field(
        default_factory=dict,
        repr=False,
        description="Keys of the chain: key id to 32 bytes in base64, an $env: reference or file:/path.",
    )
    active_key: str = Field("", description="The id of the key of new entries; empty takes the last one.")
    retired: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Keys that write no more: key id to the position of their last entry; '' is without a key.",
    )

    @field_validator("keys")
    @classmethod
    def _keys_are_hidden(cls, keys: dict[str, str]) -> dict[str, str]:
        for key in keys.values():
            if not is_reference(key) and not key.startswith("file:"):
                remember(key)
        return keys

    @model_validator(mode="after")
    def _active_key_is_not_retired(self) -> AuditSettings:
        active = self.active_key or next(reversed(self.keys), "")
        if active in self.retired:
            said = f"the key {active!r}" if active else "writing without a key"
            raise ValueError(f"AUDIT.retired ends {said}, which is what writes: add a key before")
        return self
