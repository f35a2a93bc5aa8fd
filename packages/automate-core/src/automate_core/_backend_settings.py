"""The settings of the secret backends that are reached over the network."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from automate_core._secret_ref import is_reference
from automate_core._section import Section
from automate_core.redaction import remember

__all__ = ["AwsSettings", "VaultSettings"]


class VaultSettings(Section):
    """Vault: where it is, and how to log in. Credentials are ``$env:`` references or files, never clear text."""

    address: str = Field("", description="Address of the API, such as https://vault.example.com:8200.")
    namespace: str = Field("", description="Namespace of the login and of every secret.")
    prefix: str = Field(
        "secret/", description="What $secret: puts before its path; $vault: names mount and path by itself."
    )
    mounts: dict[str, Literal[1, 2]] = Field(
        default_factory=dict,
        description='KV version by mount, such as {"team/kv": 2}; Vault is asked about mounts that are left out.',
    )
    auth: Literal["token", "approle", "kubernetes"] = Field("token", description="How to log in.")
    auth_mount: str = Field("", description="Where the auth method is mounted; empty is its own name.")
    token: str = Field("", description="For token: an $env: reference to the token.")
    token_file: str = Field("", description="For token: a file with the token, read again when it stops working.")
    role_id: str = Field("", description="For approle: the RoleID, or an $env: reference to it.")
    secret_id: str = Field("", description="For approle: an $env: reference to the SecretID.")
    secret_id_file: str = Field("", description="For approle: a file with the SecretID, read at each login.")
    role: str = Field("", description="For kubernetes: the role.")
    jwt_file: str = Field(
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        description="For kubernetes: the file with the token of the service account, read at each login.",
    )
    connect_seconds: float = Field(2.0, gt=0, description="Longest wait for a connection.")
    timeout_seconds: float = Field(5.0, gt=0, description="Longest wait for an answer.")
    ca: str = Field("", description="File of the certificates to trust instead of the public ones.")

    @field_validator("address")
    @classmethod
    def _address_is_of_an_api(cls, address: str) -> str:
        return _origin(address)

    @field_validator("mounts")
    @classmethod
    def _mounts_are_without_slashes_around(cls, mounts: dict[str, Literal[1, 2]]) -> dict[str, Literal[1, 2]]:
        return {mount.strip("/"): version for mount, version in mounts.items()}

    @field_validator("token", "secret_id")
    @classmethod
    def _credentials_are_references(cls, text: str) -> str:
        if text and not (is_reference(text) and text.startswith("$env:")):
            remember(text)
            raise ValueError("takes an $env: reference, such as $env:VAULT_TOKEN, never the credential itself")
        return text

    @field_validator("role_id")
    @classmethod
    def _role_id_may_be_a_reference(cls, text: str) -> str:
        if is_reference(text) and not text.startswith("$env:"):
            raise ValueError("takes the RoleID or an $env: reference to it")
        return text

    @model_validator(mode="after")
    def _login_is_possible(self) -> VaultSettings:
        for one, other in (("token", "token_file"), ("secret_id", "secret_id_file")):
            if getattr(self, one) and getattr(self, other):
                raise ValueError(f"{one} and {other} are both set: keep one")
        needed = {"token": self.token or self.token_file, "approle": self.role_id, "kubernetes": self.role}
        if self.address and not needed[self.auth]:
            names = {"token": "token or token_file", "approle": "role_id", "kubernetes": "role"}
            raise ValueError(f"auth is {self.auth!r}, which needs {names[self.auth]}")
        return self


class AwsSettings(Section):
    """AWS Secrets Manager and the parameter store of Systems Manager. Credentials come as boto3 finds them."""

    region: str = Field("", description="Region; empty is boto3's own, from AWS_DEFAULT_REGION or the profile.")
    endpoint: str = Field("", description="Another address than the vendor's, for every service that is called.")
    profile: str = Field("", description="Profile of the shared configuration files.")
    role_arn: str = Field("", description="Role to assume before secrets are read.")
    external_id: str = Field("", description="External id that the role asks for.")
    prefix: str = Field(
        "", description='What $secret: puts before its path, such as "prod/" or "ssm/prod/"; $aws: names it by itself.'
    )
    connect_seconds: float = Field(2.0, gt=0, description="Longest wait for a connection.")
    timeout_seconds: float = Field(5.0, gt=0, description="Longest wait for an answer.")

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_of_an_api(cls, address: str) -> str:
        return _origin(address)


def _origin(address: str) -> str:
    if not address:
        return address
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        known = False
    if not known or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("takes an address such as https://vault.example.com:8200, without user, query and fragment")
    return address.rstrip("/")
