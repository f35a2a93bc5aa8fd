"""How the client of Vault logs in and stays logged in, through the real hvac, under a clock that moves when told."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from automate_core import redaction
from automate_core.errors import ConfigurationError, SecretAccessDenied, SecretBackendUnavailable
from automate_core.settings import SecretSettings, VaultSettings
from automate_secrets.vault import VaultBackend
from vault_server import ManualClock, VaultServer

VALUE = "a value that nobody else has"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def vault(clock: ManualClock) -> Iterator[VaultServer]:
    with VaultServer(clock) as server:
        server.write("secret/data/billing", {"data": {"api_key": VALUE}})
        server.policy("app", {"secret/data/billing": ["read"]})
        yield server


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    yield
    redaction._live.clear()


class AppRole:
    """A role of the server whose tokens live for 20 minutes, and a backend that logs in with it."""

    def __init__(self, vault: VaultServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, **role: Any) -> None:
        self.vault, self.clock, self.monkeypatch = vault, clock, monkeypatch
        vault.write("sys/auth/approle", {"type": "approle"})
        vault.write("auth/approle/role/app", {"token_policies": ["app"], "token_ttl": "20m", **role})
        vault.write("auth/approle/role/app/role-id", {"role_id": "the-role-of-the-app"})
        self.issue()

    def issue(self, **options: Any) -> str:
        """Give the deployment a SecretID."""
        secret_id: str = self.vault.write("auth/approle/role/app/secret-id", options)["secret_id"]
        self.monkeypatch.setenv("APP_SECRET_ID", secret_id)
        return secret_id

    def settings(self, **settings: Any) -> VaultSettings:
        options = {"auth": "approle", "role_id": "the-role-of-the-app", "secret_id": "$env:APP_SECRET_ID", **settings}
        return VaultSettings(address=self.vault.url, mounts={"secret": 2}, **options)

    def backend(self, **settings: Any) -> VaultBackend:
        return VaultBackend(SecretSettings(vault=self.settings(**settings)), clock=self.clock)

    def revoke(self, backend: VaultBackend) -> None:
        """Let the token of a backend stop working before its time."""
        assert backend.client._login is not None
        self.vault.write("auth/token/revoke", {"token": backend.client._login.client.token})


@pytest.fixture
def approle(vault: VaultServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AppRole:
    return AppRole(vault, clock, monkeypatch)


def read(backend: VaultBackend) -> str:
    return backend.get("secret/billing", field="api_key")


# -- methods ----------------------------------------------------------------------------------------------------------


def test_by_a_token_of_the_environment_or_of_a_file(
    vault: VaultServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = (vault.write("auth/token/create", {"policies": ["app"]})["client_token"] for _ in range(2))
    monkeypatch.setenv("APP_TOKEN", first)
    file = tmp_path / "token"
    file.write_text(f"{first}\n")
    file.chmod(0o640)  # as the sink of Vault Agent is
    for settings in ({"token": "$env:APP_TOKEN"}, {"token_file": str(file)}):
        config = SecretSettings(vault={"address": vault.url, **settings})
        backend = VaultBackend(config, clock=clock)
        assert read(backend) == VALUE
    vault.write("auth/token/revoke", {"token": first})
    with pytest.raises(SecretAccessDenied, match="must allow 'read' on 'secret/data/billing'"):
        read(backend)
    file.write_text(second)  # as an agent does that renews it
    assert read(backend) == VALUE


def test_by_a_token_that_may_not_look_at_itself(
    vault: VaultServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = vault.write("auth/token/create", {"policies": ["app"], "no_default_policy": True, "ttl": "20m"})
    monkeypatch.setenv("APP_TOKEN", created["client_token"])
    settings = {"address": vault.url, "token": "$env:APP_TOKEN", "mounts": {"secret": 2}}
    backend = VaultBackend(SecretSettings(vault=settings), clock=clock)
    assert read(backend) == VALUE
    clock.advance(15 * 60)
    assert read(backend) == VALUE
    assert vault.renewals == 0


@pytest.mark.parametrize("mount", ["", "ci/roles"])
def test_by_approle_wherever_it_is_mounted(
    vault: VaultServer, approle: AppRole, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mount: str
) -> None:
    path = mount or "approle"
    if mount:
        vault.write(f"sys/auth/{mount}", {"type": "approle"})
        vault.write(f"auth/{mount}/role/app", {"token_policies": ["app"]})
        vault.write(f"auth/{mount}/role/app/role-id", {"role_id": "the-role-of-the-app"})
    secret_id = vault.write(f"auth/{path}/role/app/secret-id")["secret_id"]
    file = tmp_path / "secret-id"
    file.write_text(secret_id)
    file.chmod(0o600)
    monkeypatch.setenv("APP_ROLE_ID", "the-role-of-the-app")
    backend = approle.backend(role_id="$env:APP_ROLE_ID", secret_id="", secret_id_file=str(file), auth_mount=mount)
    assert read(backend) == VALUE
    assert vault.count(f"auth/{path}/login") == 1


def test_by_approle_without_a_secret_id_where_the_role_asks_for_none(vault: VaultServer, approle: AppRole) -> None:
    vault.write("auth/approle/role/app", {"bind_secret_id": False})
    assert read(approle.backend(secret_id="")) == VALUE


@pytest.mark.skipif(os.name != "posix", reason="the bits of a mode mean nothing here")
@pytest.mark.parametrize(
    ("auth", "mode"), [("token", 0o644), ("token", 0o660), ("approle", 0o604), ("kubernetes", 0o666)]
)
def test_a_credential_that_others_have_access_to_is_refused(
    approle: AppRole, tmp_path: Path, auth: str, mode: int
) -> None:
    """The service account's token alone is for every user of its pod, as the kubelet writes it."""
    file = tmp_path / "credential"
    file.write_text("a-credential")
    file.chmod(mode)
    given = {
        "token": {"auth": "token", "token_file": str(file)},
        "approle": {"secret_id": "", "secret_id_file": str(file)},
        "kubernetes": {"auth": "kubernetes", "role": "app", "jwt_file": str(file)},
    }[auth]
    with pytest.raises(ConfigurationError, match=f"has the mode 0{mode:o}"):
        read(approle.backend(**given))


@pytest.mark.parametrize("mount", ["", "clusters/east"])
def test_by_the_service_account_of_kubernetes(
    vault: VaultServer, clock: ManualClock, tmp_path: Path, mount: str
) -> None:
    path = mount or "kubernetes"
    vault.write(f"sys/auth/{path}", {"type": "kubernetes"})
    bound = {"bound_service_account_names": "shop", "bound_service_account_namespaces": "default"}
    vault.write(f"auth/{path}/role/app", {"token_policies": ["app"], "token_ttl": "20m", **bound})
    cluster, file = vault.kubernetes(path), tmp_path / "jwt"
    file.write_text(cluster.issue_jwt("shop", ttl=600))
    file.chmod(0o644)
    settings = {"address": vault.url, "auth": "kubernetes", "role": "app", "jwt_file": str(file), "auth_mount": mount}
    backend = VaultBackend(SecretSettings(vault=settings), clock=clock)
    assert read(backend) == VALUE
    clock.advance(21 * 60)
    with pytest.raises(SecretAccessDenied, match=r"refuses the login by kubernetes .403.* jwt_file") as raised:
        read(backend)
    assert file.read_text() not in "".join(traceback.format_exception(raised.value))
    file.write_text(cluster.issue_jwt("shop", ttl=600))  # as the kubelet does before it expires
    assert read(backend) == VALUE


# -- leases -----------------------------------------------------------------------------------------------------------


def test_the_token_is_renewed_at_half_of_its_lease(vault: VaultServer, approle: AppRole, clock: ManualClock) -> None:
    backend = approle.backend()
    read(backend)
    clock.advance(10 * 60 - 1)
    read(backend)
    assert (vault.logins, vault.renewals) == (1, 0)
    for renewals in range(1, 6):
        clock.advance(1 if renewals == 1 else 10 * 60)
        assert read(backend) == read(backend) == VALUE
        assert (vault.logins, vault.renewals) == (1, renewals)


def test_a_token_at_the_end_of_its_role_is_replaced(vault: VaultServer, approle: AppRole, clock: ManualClock) -> None:
    vault.write("auth/approle/role/app", {"token_max_ttl": "30m"})
    backend = approle.backend()
    for minutes, logins, renewals in ((0, 1, 0), (10, 1, 1), (10, 1, 2), (5, 2, 2), (10, 2, 3)):
        clock.advance(minutes * 60)
        assert read(backend) == VALUE
        assert (vault.logins, vault.renewals) == (logins, renewals)


def test_a_token_that_cannot_be_renewed_is_replaced(vault: VaultServer, approle: AppRole, clock: ManualClock) -> None:
    backend = approle.backend()
    read(backend)
    clock.advance(10 * 60)
    vault.fail(400, "lease is not renewable", path="auth/token/renew-self")
    assert read(backend) == VALUE
    assert (vault.logins, vault.renewals) == (2, 1)


def test_a_token_without_an_end_is_left_alone(
    vault: VaultServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_TOKEN", vault.root_token)
    settings = {"address": vault.url, "token": "$env:APP_TOKEN"}
    backend = VaultBackend(SecretSettings(vault=settings), clock=clock)
    read(backend)
    clock.advance(10 * 365 * 86_400)
    assert read(backend) == VALUE
    assert (vault.renewals, vault.count("lookup-self")) == (0, 1)


@pytest.mark.parametrize("trouble", ["renewal", "nothing", "login"])
def test_a_token_that_still_works_bridges_a_renewal_that_fails(
    vault: VaultServer, approle: AppRole, clock: ManualClock, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    backend = approle.backend()
    read(backend)
    clock.advance(10 * 60)
    if trouble == "renewal":
        vault.fail(500, times=None, path="auth/token/renew-self")
    elif trouble == "nothing":
        vault.garble(b'{"auth": null}', times=None, path="auth/token/renew-self")
    else:
        vault.fail(400, times=None, path="auth/")
    with caplog.at_level(logging.WARNING, "automate.secrets"):
        assert read(backend) == read(backend) == VALUE
    assert caplog.text.count("The token of Vault is not renewed, and works for another 600 s") == 1
    vault.heal()
    clock.advance(5 * 60)
    read(backend)
    assert backend.client._login is not None
    assert backend.client._login.ends_at == clock() + 20 * 60


def test_a_token_that_expired_unused_is_replaced_before_it_is_tried(
    vault: VaultServer, approle: AppRole, clock: ManualClock
) -> None:
    backend = approle.backend()
    read(backend)
    clock.advance(20 * 60)
    assert read(backend) == VALUE
    assert (vault.logins, vault.renewals) == (2, 0)
    assert all(request.status == 200 for request in vault.journal)


def test_a_token_that_stopped_working_is_replaced_and_the_request_made_again(
    vault: VaultServer, approle: AppRole
) -> None:
    backend = approle.backend()
    read(backend)
    for logins in (2, 3):
        approle.revoke(backend)
        assert read(backend) == VALUE
        assert vault.logins == logins


def test_a_request_is_made_again_only_once(vault: VaultServer, approle: AppRole) -> None:
    backend = approle.backend()
    read(backend)
    approle.revoke(backend)
    vault.fail(403, "permission denied", path="secret/data/billing", times=None)
    with pytest.raises(SecretAccessDenied):
        read(backend)
    assert (vault.logins, vault.count("secret/data/billing")) == (2, 3)


def test_a_denied_request_of_a_token_that_works_costs_no_login(vault: VaultServer, approle: AppRole) -> None:
    backend = approle.backend()
    for _ in range(3):
        with pytest.raises(SecretAccessDenied, match="'secret/data/other'"):
            backend.get("secret/other")
    assert vault.logins == 1


def test_a_secret_id_for_one_login_lasts_as_long_as_the_token_is_renewed(
    vault: VaultServer, approle: AppRole, clock: ManualClock
) -> None:
    used_up = approle.issue(num_uses=1)
    backend = approle.backend()
    for _ in range(10):
        assert read(backend) == VALUE
        clock.advance(15 * 60)
    approle.revoke(backend)
    with pytest.raises(SecretAccessDenied, match=r"login by approle .400.*SecretID.*used up: put a new one") as raised:
        read(backend)
    assert not raised.value.retryable
    assert used_up not in "".join(traceback.format_exception(raised.value))
    approle.issue(num_uses=1)
    assert read(backend) == VALUE


def test_a_login_that_answers_without_a_token_is_refused(vault: VaultServer, approle: AppRole) -> None:
    vault.garble(b'{"auth": {"client_token": "", "mfa_requirement": {}}}', path="auth/approle/login")
    with pytest.raises(SecretAccessDenied, match="second factor"):
        read(approle.backend())


def test_a_sealed_vault_is_no_reason_to_log_in_again(vault: VaultServer, approle: AppRole) -> None:
    backend = approle.backend()
    read(backend)
    vault.seal()
    with pytest.raises(SecretBackendUnavailable, match="sealed"):
        read(backend)
    vault.unseal()
    assert read(backend) == VALUE
    assert vault.logins == 1


# -- many at once -----------------------------------------------------------------------------------------------------


def test_threads_share_one_login(vault: VaultServer, approle: AppRole) -> None:
    backend = approle.backend()
    vault.slow(0.2, path="auth/approle/login")
    with ThreadPoolExecutor(8) as pool:
        assert {future.result(60) for future in [pool.submit(read, backend) for _ in range(8)]} == {VALUE}
    assert vault.logins == 1


def test_threads_whose_token_stopped_working_share_one_login(vault: VaultServer, approle: AppRole) -> None:
    backend = approle.backend()
    read(backend)
    approle.revoke(backend)
    vault.slow(0.2, path="auth/approle/login")
    with ThreadPoolExecutor(8) as pool:
        assert {future.result(60) for future in [pool.submit(read, backend) for _ in range(8)]} == {VALUE}
    assert vault.logins == 2


def test_one_thread_renews_while_the_others_go_on(vault: VaultServer, approle: AppRole, clock: ManualClock) -> None:
    backend = approle.backend(timeout_seconds=60)
    read(backend)
    clock.advance(10 * 60)
    vault.slow(60, path="auth/token/renew-self")
    with ThreadPoolExecutor(1) as pool:
        with ExitStack() as stack:
            stack.callback(vault._closing.set)
            renewing = pool.submit(read, backend)
            while not backend.client._renewing.locked():
                assert not renewing.done()
            assert read(backend) == VALUE
            assert not renewing.done()
        assert renewing.result(60) == VALUE
    assert (vault.logins, vault.renewals) == (1, 1)


def test_a_forked_process_has_a_login_and_connections_of_its_own(
    vault: VaultServer, approle: AppRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = approle.backend()
    read(backend)
    before = backend.client._session
    pid = os.getpid()
    monkeypatch.setattr("os.getpid", lambda: pid + 1)
    assert read(backend) == VALUE
    assert vault.logins == 2
    assert backend.client._session is not before


# -- what is around it ------------------------------------------------------------------------------------------------


def test_nothing_comes_from_the_environment(
    vault: VaultServer, approle: AppRole, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("VAULT_TOKEN", "hvs.somebody-elses")
    monkeypatch.setenv("VAULT_NAMESPACE", "elsewhere")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    assert read(approle.backend()) == VALUE
    assert {(request.namespace, request.status) for request in vault.journal} == {("", 200)}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"secret_id": "$env:NOT_SET_ANYWHERE"}, r"NOT_SET_ANYWHERE is not set.*The setting SECRETS\.vault\.secret_id"),
        (
            {"secret_id": "", "secret_id_file": "/no/such/file"},
            r"secret_id_file: /no/such/file cannot be read",
        ),
        (
            {"auth": "token", "token_file": "/dev/null"},
            r"token_file: /dev/null is not a file",
        ),
        ({"auth": "token", "token_file": "token"}, r"token_file: 'token' is not an absolute path"),
        ({"auth": "kubernetes", "role": "app"}, r"SECRETS\.vault\.jwt_file: /var/run/secrets/kubernetes\.io"),
        ({"ca": "/no/such/authority.pem"}, r"no file /no/such/authority\.pem, which.*SECRETS\.vault\.ca"),
    ],
)
def test_credentials_that_cannot_be_read_name_their_setting(
    vault: VaultServer, approle: AppRole, settings: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read(approle.backend(**settings))
    assert not vault.journal


def test_a_connection_that_is_not_made_is_not_waited_for(approle: AppRole) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # the queue is full, and further connections stay unanswered
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        address = f"http://127.0.0.1:{full.getsockname()[1]}"
        settings = approle.settings(connect_seconds=0.2, timeout_seconds=60).model_copy(update={"address": address})
        with pytest.raises(SecretBackendUnavailable, match="cannot be reached"):
            read(VaultBackend(SecretSettings(vault=settings)))


def test_the_authority_of_the_certificate_is_that_of_the_settings(approle: AppRole, tmp_path: Path) -> None:
    certificate = tmp_path / "vault.pem"
    certificate.write_text(self_signed())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = approle.vault._server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = approle.vault.url.replace("http:", "https:")

    def backend(ca: str) -> VaultBackend:
        settings = approle.settings(ca=ca).model_copy(update={"address": address})
        return VaultBackend(SecretSettings(vault=settings))

    with pytest.raises(SecretBackendUnavailable, match=r"not trusted.*SECRETS\.vault\.ca") as raised:
        read(backend(""))
    assert not raised.value.retryable
    assert read(backend(str(certificate))) == VALUE


def self_signed() -> str:
    """Make a key and a certificate for 127.0.0.1."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vault")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + certificate.public_bytes(serialization.Encoding.PEM)).decode()
