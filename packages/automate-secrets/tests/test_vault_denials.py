"""What a denied read costs where the token may not look at itself, so that nobody knows whether it still works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from automate_core import redaction
from automate_core.errors import SecretAccessDenied
from automate_core.settings import SecretSettings, VaultSettings
from automate_secrets.vault import VaultBackend
from vault_server import ManualClock, VaultServer

VALUE = "a value that nobody else has"
ROLE = "auth/approle/role/app"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def vault(clock: ManualClock) -> Iterator[VaultServer]:
    """A server whose role issues tokens without the policy ``default``, which lets a token look at itself."""
    with VaultServer(clock) as server:
        server.write("secret/data/billing", {"data": {"value": VALUE}})
        server.policy("app", {"secret/data/billing": ["read"]})
        server.write("sys/auth/approle", {"type": "approle"})
        server.write(ROLE, {"token_policies": ["app"], "token_ttl": "20m", "token_no_default_policy": True})
        yield server
    redaction._live.clear()


def backend_for(vault: VaultServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, uses: int = 0) -> VaultBackend:
    secret_id = vault.write(f"{ROLE}/secret-id", {"num_uses": uses})["secret_id"]
    monkeypatch.setenv("APP_SECRET_ID", secret_id)
    settings = VaultSettings(
        address=vault.url, mounts={"secret": 2}, auth="approle", secret_id="$env:APP_SECRET_ID",
        role_id=vault.write(f"{ROLE}/role-id", {"role_id": "the-role-of-the-app"}) or "the-role-of-the-app",
    )  # fmt: skip
    return VaultBackend(SecretSettings(vault=settings), clock=clock)


@pytest.fixture
def backend(vault: VaultServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> VaultBackend:
    return backend_for(vault, clock, monkeypatch)


def revoke(vault: VaultServer, backend: VaultBackend) -> None:
    assert backend.client._login is not None
    vault.write("auth/token/revoke", {"token": backend.client._login.client.token})


def deny(backend: VaultBackend, path: str = "secret/forbidden") -> None:
    with pytest.raises(SecretAccessDenied, match="policy"):
        backend.get(path)


def test_a_hundred_denied_reads_log_in_once_more_and_not_each_time(vault: VaultServer, backend: VaultBackend) -> None:
    for number in range(100):
        deny(backend, f"secret/forbidden{number}")
    assert (vault.logins, vault.count("lookup-self")) == (2, 1)
    assert backend.get("secret/billing") == VALUE


def test_a_hundred_denied_reads_of_eight_threads_log_in_once_more(vault: VaultServer, backend: VaultBackend) -> None:
    assert backend.get("secret/billing") == VALUE
    begin = threading.Barrier(8)

    def read(number: int) -> None:
        if number < 8:
            begin.wait()
        deny(backend, f"secret/forbidden{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(100)))
    assert vault.logins == 2


def test_a_denial_is_doubted_again_after_half_a_minute(
    vault: VaultServer, backend: VaultBackend, clock: ManualClock
) -> None:
    for seconds, logins in ((0, 2), (29, 2), (1, 3), (29, 3), (1, 4)):
        clock.advance(seconds)
        deny(backend)
        assert vault.logins == logins


def test_a_token_that_stopped_working_is_replaced_each_time(vault: VaultServer, backend: VaultBackend) -> None:
    for logins in (1, 2, 3):
        assert backend.get("secret/billing") == VALUE
        assert vault.logins == logins
        revoke(vault, backend)


def test_a_token_that_stops_working_after_a_denial_is_replaced_at_once_where_vault_says_so(
    vault: VaultServer, backend: VaultBackend
) -> None:
    deny(backend)
    revoke(vault, backend)
    assert backend.get("secret/billing") == VALUE


def test_a_token_that_stops_working_after_a_denial_is_replaced_within_half_a_minute_elsewhere(
    vault: VaultServer, backend: VaultBackend, clock: ManualClock
) -> None:
    """Older Vaults say the same of a token that is none and of one without the policy."""
    deny(backend)
    for seconds in (0, 29):
        clock.advance(seconds)
        vault.fail(403, "permission denied", path="secret/data/billing")
        deny(backend, "secret/billing")
        assert vault.logins == 2
    clock.advance(1)
    vault.fail(403, "permission denied", path="secret/data/billing")
    assert backend.get("secret/billing") == VALUE
    assert vault.logins == 3


def test_a_refused_login_is_not_tried_at_each_denied_read(
    vault: VaultServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some Vaults lock a role that fails to log in again and again."""
    backend = backend_for(vault, clock, monkeypatch, uses=1)
    with pytest.raises(SecretAccessDenied, match="refuses the login"):
        backend.get("secret/forbidden")
    for _ in range(99):
        deny(backend)
    assert vault.logins == 2
    assert backend.get("secret/billing") == VALUE
