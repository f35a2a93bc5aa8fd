"""The backend of Vault: where secrets are, and what is said where there is none, through the real hvac."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from automate_core import redaction
from automate_core.errors import (
    SecretAccessDenied,
    SecretBackendUnavailable,
    SecretError,
    SecretNotFoundError,
)
from automate_core.registry import Registry
from automate_core.secrets import Resolver, SecretBackend
from automate_core.settings import SecretSettings
from automate_core.testing.secrets import SecretBackendContract
from automate_secrets.vault import VaultBackend
from vault_server import VaultServer

VALUE = "a value that nobody else has"


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    with VaultServer() as server:
        server.write("secret/data/billing", {"data": {"api_key": VALUE}})
        yield server


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    if "vault" in request.fixturenames:
        monkeypatch.setenv("VAULT_TEST_TOKEN", request.getfixturevalue("vault").root_token)
    yield
    redaction._live.clear()


def config_for(vault: VaultServer, **settings: Any) -> SecretSettings:
    return SecretSettings(
        backend="vault",
        vault={"address": vault.url, "token": "$env:VAULT_TEST_TOKEN", "timeout_seconds": 5, **settings},
    )


def backend_for(vault: VaultServer, **settings: Any) -> VaultBackend:
    return VaultBackend(config_for(vault, **settings))


def limited_to(vault: VaultServer, monkeypatch: pytest.MonkeyPatch, **rules: list[str]) -> str:
    """Log in with a token that may do no more than the rules say; returns the token."""
    vault.policy("limited", rules)
    token: str = vault.write("auth/token/create", {"policies": ["limited"]})["client_token"]
    monkeypatch.setenv("VAULT_TEST_TOKEN", token)
    return token


class TestVaultBackend(SecretBackendContract):
    path = "secret/CONTRACT_API_KEY"

    @pytest.fixture(autouse=True)
    def _server(self, vault: VaultServer) -> None:
        self.vault = vault
        self.written: dict[str, str] = {}

    def make_config(self) -> SecretSettings:
        return config_for(self.vault, prefix="")

    def make_backend(self, config: SecretSettings) -> SecretBackend:
        return VaultBackend(config)

    def put(
        self, backend: SecretBackend, path: str, value: str, *, field: str | None = None, tenant: str | None = None
    ) -> None:
        self.written[field or "value"] = value
        mount, _, name = path.partition("/")
        self.vault.write(f"{mount}/data/{name}", {"data": dict(self.written)})


# -- where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mount", ["kv", "team/kv", "a/b/c"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("told", [False, True])
def test_versions_of_engines_are_told_apart_wherever_they_are_mounted(
    vault: VaultServer, mount: str, version: int, told: bool
) -> None:
    vault.write(f"sys/mounts/{mount}", {"type": "kv", "options": {"version": str(version)}})
    data = {"api_key": VALUE}
    if version == 1:
        vault.write(f"{mount}/deep/billing", data)
    else:
        vault.write(f"{mount}/data/deep/billing", {"data": data})
    backend = backend_for(vault, mounts={mount: version} if told else {})
    for _ in range(2):
        assert backend.get(f"{mount}/deep/billing", field="api_key") == VALUE
    assert sum("internal/ui/mounts" in request.path for request in vault.journal) == (0 if told else 1)
    if version == 1:
        with pytest.raises(SecretError, match=r"keeps no versions: leave @2 out"):
            backend.get(f"{mount}/deep/billing", field="api_key", version="2")
    with pytest.raises(SecretNotFoundError, match=f"vault kv put -mount={mount} deep/other value=…"):
        backend.get(f"{mount}/deep/other")


def test_an_engine_that_was_made_anew_is_asked_for_again(vault: VaultServer) -> None:
    vault.write("sys/mounts/kv", {"type": "kv", "options": {"version": "1"}})
    vault.write("kv/billing", {"value": "of version 1"})
    backend = backend_for(vault)
    assert backend.get("kv/billing") == "of version 1"
    vault._namespaces[""].mounts.pop("kv/")
    vault.write("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
    vault.write("kv/data/billing", {"data": {"value": "of version 2"}})
    with pytest.raises(SecretNotFoundError):
        backend.get("kv/billing")
    assert backend.get("kv/billing") == "of version 2"


def test_the_longest_mount_of_the_settings_counts(vault: VaultServer) -> None:
    vault.write("sys/mounts/team/kv", {"type": "kv", "options": {"version": "1"}})
    vault.write("team/kv/billing", {"value": VALUE})
    assert backend_for(vault, mounts={"team": 2, "team/kv": 1}).get("team/kv/billing") == VALUE


def test_what_is_no_key_value_engine_keeps_no_secrets(vault: VaultServer) -> None:
    vault.write("sys/mounts/transit", {"type": "transit"})
    with pytest.raises(SecretError, match="'transit' is of the type 'transit', not kv"):
        backend_for(vault).get("transit/keys/billing")


def test_a_mount_that_is_not_told_names_the_setting(vault: VaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    limited_to(vault, monkeypatch, **{"secret/data/billing": ["read"]})
    with pytest.raises(SecretAccessDenied, match=r"'nowhere/billing'.*SECRETS\.vault\.mounts"):
        backend_for(vault).get("nowhere/billing")


@pytest.mark.parametrize(
    "path", ["billing", "secret/", "/secret/billing", "secret//billing", "secret/ä", "a/b?c=d", "a/b%2f"]
)
def test_what_cannot_be_mount_and_path_is_refused(vault: VaultServer, path: str) -> None:
    with pytest.raises(SecretError, match="not mount and path"):
        backend_for(vault).get(path)
    assert not vault.journal


def test_both_schemes_are_one_backend_with_one_login(vault: VaultServer) -> None:
    vault.write("secret/data/shop/API_KEY", {"data": {"value": "of the shop"}})
    resolver = Resolver(registry=Registry(), config=config_for(vault, prefix="secret/shop/"))
    assert resolver.resolve("$secret:API_KEY") == "of the shop"
    assert resolver.resolve("$vault:secret/billing#api_key") == VALUE
    assert asyncio.run(resolver.aresolve("$vault:secret/billing#api_key@1")) == VALUE
    assert vault.count("auth/token/lookup-self") == 1


def test_namespaces_are_asked_and_logged_in_to(vault: VaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.write("sys/namespaces/team", {})
    vault.write("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}}, namespace="team")
    vault.write("kv/data/billing", {"data": {"api_key": "of the team"}}, namespace="team")
    assert backend_for(vault, namespace="team").get("kv/billing", field="api_key") == "of the team"
    assert {request.namespace for request in vault.journal} == {"team"}
    with pytest.raises(SecretError):
        backend_for(vault).get("kv/billing", field="api_key")


# -- what it is -------------------------------------------------------------------------------------------------------


def test_fields_are_chosen_by_name_or_as_the_only_one(vault: VaultServer) -> None:
    vault.write(
        "secret/data/several", {"data": {"user": "shop", "password": "horse", "port": 5432, "tls": {"on": True}}}
    )
    backend = backend_for(vault)
    assert backend.get("secret/billing") == VALUE
    assert backend.get("secret/several", field="port") == "5432"
    assert backend.get("secret/several", field="tls") == '{"on": true}'
    with pytest.raises(SecretError, match=r"several fields.*: #password, #port, #tls, #user"):
        backend.get("secret/several")
    with pytest.raises(SecretNotFoundError, match=r"no field 'pasword'\. Did you mean 'password'") as raised:
        backend.get("secret/several", field="pasword")
    assert "horse" not in str(raised.value)


def test_deleted_and_destroyed_versions_say_how_to_get_them_back(vault: VaultServer) -> None:
    for number in (2, 3):
        vault.write("secret/data/billing", {"data": {"api_key": f"value {number}"}})
    vault.write("secret/delete/billing", {"versions": [3]})
    vault.write("secret/destroy/billing", {"versions": [2]})
    backend = backend_for(vault)
    for version in (None, "3"):
        with pytest.raises(
            SecretNotFoundError,
            match=r"Version 3 of the secret 'secret/billing' was deleted at 20\S+Z\. Bring it back: "
            r"vault kv undelete -mount=secret -versions=3 billing$",
        ):
            backend.get("secret/billing", field="api_key", version=version)
    with pytest.raises(SecretNotFoundError, match=r"Version 2 .* was destroyed\. Put a new one there"):
        backend.get("secret/billing", field="api_key", version="2")
    with pytest.raises(SecretNotFoundError, match="no version 9 of a secret 'secret/billing'"):
        backend.get("secret/billing", field="api_key", version="9")
    assert backend.get("secret/billing", field="api_key", version="1") == VALUE
    vault.write("secret/undelete/billing", {"versions": [3]})
    assert backend.get("secret/billing", field="api_key") == "value 3"


# -- what goes wrong --------------------------------------------------------------------------------------------------

STATES: dict[str, Any] = {
    "sealed": (lambda vault: vault.seal(), "sealed.*vault operator unseal", True, None),
    "standby": (lambda vault: vault.fail(429, retry_after=7, times=None), "on standby, or limits the rate", True, 7),
    "disaster recovery": (lambda vault: vault.fail(472, times=None), "replica for disaster recovery", True, None),
    "performance standby": (lambda vault: vault.fail(473, times=None), "standby.*that of the active node", True, None),
    "not replicated": (lambda vault: vault.fail(412, times=None), "not yet replicated", True, None),
    "not initialized": (lambda vault: vault.fail(501, times=None), "vault operator init", False, None),
    "error": (lambda vault: vault.fail(500, "1 error occurred", times=None), "fails .500: 1 error", True, None),
    "bad gateway": (lambda vault: vault.fail(502, retry_after="soon", times=None), "fails .502", True, None),
    "maintenance": (lambda vault: vault.fail(503, retry_after=3, times=None), "sealed, or down", True, 3),
    "slow": (lambda vault: vault.slow(60, times=None), r"does not answer within SECRETS\.vault\.timeout_s", True, None),
    "dropped": (lambda vault: vault.drop(times=None), "closes the connection", True, None),
    "a page": (lambda vault: vault.garble(times=None), "does not speak Vault's JSON .200", True, None),
    "a page not found": (lambda vault: vault.garble(status=404, times=None), "JSON .404", True, None),
    "a page forbidden": (lambda vault: vault.garble(status=403, times=None), "JSON .403", True, None),
    "a list": (lambda vault: vault.garble(b"[]", times=None), "does not speak Vault's JSON", True, None),
    "half an answer": (lambda vault: vault.garble(b'{"data": {}}', times=None), "is no (secret|login)", True, None),
    "no secret": (lambda vault: vault.garble(b'{"data": {"data": 5}}', times=None), "is no (secret|login)", True, None),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("when", ["at the login", "when it is read"])
def test_every_outage_is_typed_and_shows_no_token(vault: VaultServer, state: str, when: str) -> None:
    trouble, says, retryable, wait = STATES[state]
    resolver = Resolver(config=config_for(vault, timeout_seconds=0.3, mounts={"secret": 2}))
    if when == "when it is read":
        resolver.resolve("$vault:secret/billing#api_key")
        resolver.invalidate()
    trouble(vault)
    for ask in (resolver.resolve, lambda ref: asyncio.run(resolver.aresolve(ref))):
        with pytest.raises(SecretBackendUnavailable, match=rf"(?s)^\$vault:secret/billing#api_key: .*{says}") as raised:
            ask("$vault:secret/billing#api_key")
        assert (raised.value.retryable, raised.value.retry_after) == (retryable, wait)
        shown = "".join(traceback.format_exception(raised.value))
        assert vault.root_token not in shown
        assert VALUE not in shown
    vault.unseal()
    vault.heal()
    assert resolver.resolve("$vault:secret/billing#api_key") == VALUE


def test_a_server_that_is_not_there_is_unavailable() -> None:
    vault = VaultServer()
    vault._server.server_close()
    with pytest.raises(SecretBackendUnavailable, match=r"cannot be reached at 127\.0\.0\.1:") as raised:
        VaultBackend(SecretSettings(vault={"address": vault.url, "token": "$env:HOME"})).get("secret/billing")
    assert raised.value.retryable


def test_a_redirect_is_not_followed(vault: VaultServer) -> None:
    with VaultServer() as elsewhere:
        backend = backend_for(vault)
        backend.get("secret/billing")
        vault.standby(active=elsewhere.url)
        with pytest.raises(
            SecretBackendUnavailable, match=r"redirect \(307\).*address be that of the active"
        ) as raised:
            backend.get("secret/billing")
        assert raised.value.retryable
        assert not elsewhere.journal


def test_what_the_policy_denies_is_named(vault: VaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = limited_to(vault, monkeypatch, **{"secret/data/other": ["read"]})
    backend = backend_for(vault)
    for _ in range(2):
        with pytest.raises(SecretAccessDenied, match=r"403.*must allow 'read' on 'secret/data/billing'") as raised:
            backend.get("secret/billing")
        assert not raised.value.retryable
        assert token not in "".join(traceback.format_exception(raised.value))
    assert vault.count("secret/data/billing") == 2


def test_what_does_not_make_sense_to_vault_is_an_error(vault: VaultServer) -> None:
    vault.fail(400, "unexpected", path="secret/data")
    with pytest.raises(SecretError, match=r"does not accept GET secret/data/billing \(400: unexpected") as raised:
        backend_for(vault).get("secret/billing")
    assert type(raised.value) is SecretError


def test_an_outage_touches_no_other_backend(
    vault: VaultServer, monkeypatch: pytest.MonkeyPatch, database: None, config: SecretSettings
) -> None:
    from automate_secrets.db import DbBackend

    monkeypatch.setenv("SHOP_TOKEN", "of the environment")
    DbBackend(config).set("API_KEY", "of the database")
    both = config.model_copy(update={"vault": config_for(vault, timeout_seconds=60).vault})
    resolver = Resolver(registry=Registry(), config=both)
    resolver.resolve("$vault:secret/billing#api_key")
    resolver.invalidate()
    vault.slow(60, times=None)
    with ThreadPoolExecutor(2) as pool:
        hanging = [pool.submit(resolver.resolve, "$vault:secret/billing#api_key") for _ in range(2)]
        try:
            assert resolver.resolve("$env:SHOP_TOKEN") == "of the environment"
            assert resolver.resolve("$secret:API_KEY") == "of the database"
            assert not any(future.done() for future in hanging)
        finally:
            vault._closing.set()
        assert {future.result(60) for future in hanging} == {VALUE}


def test_equal_reads_are_one_request(vault: VaultServer) -> None:
    resolver = Resolver(config=config_for(vault, mounts={"secret": 2}))
    vault.slow(0.2, path="secret/data")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(resolver.resolve, ["$vault:secret/billing#api_key"] * 8)) == {VALUE}
    assert vault.count("secret/data/billing") == 1

    async def many() -> list[str]:
        return await asyncio.gather(*[resolver.aresolve("$vault:secret/billing#api_key") for _ in range(8)])

    resolver.invalidate()
    vault.slow(0.2, path="secret/data")
    assert set(asyncio.run(many())) == {VALUE}
    assert vault.count("secret/data/billing") == 2


# -- the check --------------------------------------------------------------------------------------------------------


def test_the_check_names_what_keeps_it_from_working(vault: VaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backend_for(vault)
    assert backend.check() == []
    vault.seal()
    assert "vault operator unseal" in backend.check()[0]
    vault.unseal()
    monkeypatch.setenv("VAULT_TEST_TOKEN", "")
    assert backend_for(vault).check() == [
        "The environment variable VAULT_TEST_TOKEN is empty. The setting SECRETS.vault.token names it."
    ]
    monkeypatch.setenv("VAULT_TEST_TOKEN", "hvs.nobody-knows-it")
    assert "Vault denies it (403" in backend_for(vault).check()[0]


def test_the_check_warns_of_a_token_in_clear_text() -> None:
    config = SecretSettings(vault={"address": "http://vault.invalid:8200", "token": "$env:NO_SUCH_VARIABLE"})
    assert VaultBackend(config).check() == [
        "SECRETS.vault.address begins with http: the token crosses the network in clear text. Use https.",
        "The environment variable NO_SUCH_VARIABLE is not set. Set it where the web and worker processes start. "
        "The setting SECRETS.vault.token names it.",
    ]


def test_without_an_address_the_setting_is_named() -> None:
    resolver = Resolver(registry=Registry(), config=SecretSettings(backend="vault"))
    with pytest.raises(SecretBackendUnavailable, match=r"The setting SECRETS\.vault\.address is empty") as raised:
        resolver.resolve("$secret:API_KEY")
    assert not raised.value.retryable
    assert len(resolver.check()) == 1


BARE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("hvac", "requests", "boto3", "botocore"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())

import automate_secrets.vault, automate_secrets.aws
from automate_core.secrets import Resolver

for reference in ("$vault:secret/billing", "$aws:billing"):
    try:
        Resolver().resolve(reference)
    except Exception as error:
        print(type(error).__name__, error.retryable, error)
"""


def test_without_its_extra_it_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    vault, aws = done.stdout.splitlines()
    assert vault.startswith("SecretBackendUnavailable False $vault:secret/billing: ")
    assert vault.endswith("Install it: pip install 'automate-secrets[vault]'")
    assert aws.startswith("SecretBackendUnavailable False $aws:billing: ")
    assert aws.endswith("Install it: pip install 'automate-secrets[aws]'")
