"""The settings of the secret backends that are reached over the network: what cannot be meant is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from automate_core import redaction, settings
from automate_core.errors import ConfigurationError
from automate_core.redaction import REDACTED, redact_text
from automate_core.secrets import Resolver, SecretBackend
from automate_core.settings import SecretSettings

ADDRESS = "https://vault.example.com:8200"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    yield
    redaction._live.clear()


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"vault": {"adress": ADDRESS}}, r"SECRETS\.vault\.adress: unknown setting\. Did you mean 'address'"),
        ({"vault": {"address": "vault.example.com"}}, r"SECRETS\.vault\.address: takes an address such as"),
        ({"vault": {"address": "ftp://vault.example.com"}}, "takes an address"),
        ({"vault": {"address": "https://"}}, "takes an address"),
        ({"vault": {"address": "https://vault:port"}}, "takes an address"),
        ({"vault": {"address": "https://me:pass@vault.example.com"}}, "without user"),
        ({"vault": {"address": f"{ADDRESS}?a=b"}}, "without user, query"),
        ({"vault": {"address": ADDRESS}}, "auth is 'token', which needs token or token_file"),
        ({"vault": {"address": ADDRESS, "auth": "approle"}}, "auth is 'approle', which needs role_id"),
        ({"vault": {"address": ADDRESS, "auth": "kubernetes"}}, "auth is 'kubernetes', which needs role"),
        ({"vault": {"address": ADDRESS, "auth": "ldap"}}, r"SECRETS\.vault\.auth"),
        ({"vault": {"token": "hvs.in-clear-text"}}, r"SECRETS\.vault\.token: takes an \$env: reference"),
        ({"vault": {"token": "$vault:secret/token"}}, r"takes an \$env: reference"),
        ({"vault": {"secret_id": "9c5b2d1e-in-clear"}}, r"SECRETS\.vault\.secret_id: takes an \$env: reference"),
        ({"vault": {"role_id": "$secret:ROLE_ID"}}, "takes the RoleID or an"),
        ({"vault": {"token": "$env:TOKEN", "token_file": "/token"}}, "token and token_file are both set: keep one"),
        ({"vault": {"secret_id": "$env:ID", "secret_id_file": "/id"}}, "secret_id and secret_id_file are both set"),
        ({"vault": {"mounts": {"kv": 3}}}, r"SECRETS\.vault\.mounts\.kv"),
        ({"vault": {"timeout_seconds": 0}}, r"SECRETS\.vault\.timeout_seconds"),
        ({"aws": {"endpoint": "localhost:5000"}}, r"SECRETS\.aws\.endpoint: takes an address"),
        ({"aws": {"regoin": "eu-west-1"}}, r"SECRETS\.aws\.regoin: unknown setting\. Did you mean 'region'"),
        ({"cache_entries": 0}, r"SECRETS\.cache_entries"),
        ({"cache_seconds": -1}, r"SECRETS\.cache_seconds"),
    ],
)
def test_what_cannot_be_meant_is_refused(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        settings.parse({"SECRETS": section})


@pytest.mark.parametrize("name", ["token", "secret_id"])
def test_a_credential_in_clear_text_is_hidden_when_it_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings.parse({"SECRETS": {"vault": {name: "correct-horse-battery"}}})
    assert "horse" not in str(raised.value)
    assert redact_text("it was correct-horse-battery") == f"it was {REDACTED}"


def test_addresses_and_mounts_are_kept_without_their_last_slash() -> None:
    vault: dict[str, Any] = {
        "address": f"{ADDRESS}/",
        "auth": "approle",
        "role_id": "app",
        "secret_id_file": "/run/secret-id",
    }
    vault["mounts"] = {"team/kv/": 2}
    parsed = settings.parse({"SECRETS": {"vault": vault, "aws": {"endpoint": "http://127.0.0.1:5000/"}}}).secrets
    assert (parsed.vault.address, parsed.aws.endpoint) == (ADDRESS, "http://127.0.0.1:5000")
    assert parsed.vault.mounts == {"team/kv": 2}


@pytest.mark.parametrize(
    ("section", "checked"),
    [
        ({}, ["env"]),
        ({"backend": "vault"}, ["vault"]),
        ({"backend": "aws", "aws": {"region": "eu-west-1"}}, ["aws"]),
        ({"vault": {"address": ADDRESS, "token": "$env:T"}, "aws": {"region": "eu-west-1"}}, ["env", "vault", "aws"]),
    ],
)
def test_the_check_looks_at_what_is_set_up(
    monkeypatch: pytest.MonkeyPatch, section: dict[str, Any], checked: list[str]
) -> None:
    def backend(name: str) -> type[SecretBackend]:
        class Complaining(SecretBackend):
            def check(self) -> list[str]:
                return [name]

        return Complaining

    monkeypatch.setattr("automate_core._secret_resolver.find_class", lambda name, registry: backend(name))
    assert Resolver(config=SecretSettings(**section)).check() == checked
