"""The Vault that tests talk to, driven by hvac: each documented behaviour that backends need."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import hvac
import pytest
import requests
from hvac import exceptions
from vault_engines import Refusal
from vault_server import ManualClock, Request, VaultServer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def vault(clock: ManualClock) -> Iterator[VaultServer]:
    with VaultServer(clock) as server:
        yield server


@pytest.fixture
def root(vault: VaultServer) -> hvac.Client:
    return client_of(vault, vault.root_token)


def client_of(vault: VaultServer, token: str | None = None, **options: object) -> hvac.Client:
    client = hvac.Client(url=vault.url, token=token, timeout=5, **options)
    client.token = token  # hvac would read VAULT_TOKEN or ~/.vault-token
    return client


def read(client: hvac.Client, path: str, mount: str = "secret", **options: object) -> dict[str, object]:
    options.setdefault("raise_on_deleted_version", True)
    answer = client.secrets.kv.v2.read_secret_version(path, mount_point=mount, **options)
    return dict(answer["data"])


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# -- KV ---------------------------------------------------------------------------------------------------------------


def test_a_secret_has_versions(root: hvac.Client) -> None:
    kv = root.secrets.kv.v2
    assert kv.create_or_update_secret("app/db", {"password": "one"})["data"]["version"] == 1
    assert kv.create_or_update_secret("app/db", {"password": "two"})["data"]["version"] == 2

    latest, first = read(root, "app/db"), read(root, "app/db", version=1)

    assert latest["data"] == {"password": "two"}
    assert first["data"] == {"password": "one"}
    assert first["metadata"] == {
        "created_time": "2026-09-21T14:13:20.000000000Z",
        "custom_metadata": None,
        "deletion_time": "",
        "destroyed": False,
        "version": 1,
    }


def test_what_is_not_there_is_an_invalid_path_without_errors(root: hvac.Client) -> None:
    root.secrets.kv.v2.create_or_update_secret("app/db", {"password": "one"})
    for call in (
        lambda: read(root, "app/other"),
        lambda: read(root, "app/db", version=7),
        lambda: read(root, "app/db", mount="nowhere"),
        lambda: root.secrets.kv.v2.list_secrets("app/db/none"),
        lambda: root.sys.read_policy("none"),
    ):
        with pytest.raises(exceptions.InvalidPath) as caught:
            call()
        assert caught.value.json == {"errors": []}


def test_check_and_set_takes_the_current_version_alone(root: hvac.Client) -> None:
    kv = root.secrets.kv.v2
    kv.create_or_update_secret("app/db", {"password": "one"}, cas=0)
    for wrong in (0, 2):
        with pytest.raises(exceptions.InvalidRequest, match="check-and-set parameter did not match"):
            kv.create_or_update_secret("app/db", {"password": "two"}, cas=wrong)
    kv.create_or_update_secret("app/db", {"password": "two"}, cas=1)

    kv.configure(cas_required=True)
    with pytest.raises(exceptions.InvalidRequest, match="check-and-set parameter required"):
        kv.create_or_update_secret("app/db", {"password": "three"})
    assert read(root, "app/db")["data"] == {"password": "two"}
    assert kv.read_configuration()["data"]["cas_required"] is True


def test_a_deleted_version_is_a_404_with_a_deletion_time_until_it_is_undeleted(
    root: hvac.Client, vault: VaultServer
) -> None:
    kv = root.secrets.kv.v2
    kv.create_or_update_secret("app/db", {"password": "one"})
    kv.delete_latest_version_of_secret("app/db")

    with pytest.raises(exceptions.InvalidPath):
        read(root, "app/db", raise_on_deleted_version=True)
    shown = read(root, "app/db", raise_on_deleted_version=False)
    assert shown["data"] is None
    assert shown["metadata"]["deletion_time"] == "2026-09-21T14:13:20.000000000Z"  # type: ignore[index]  # JSON
    raw = requests.get(f"{vault.url}/v1/secret/data/app/db", headers={"X-Vault-Token": vault.root_token}, timeout=5)
    assert raw.status_code == 404

    kv.undelete_secret_versions("app/db", [1])
    assert read(root, "app/db")["data"] == {"password": "one"}


def test_a_destroyed_version_is_gone_for_good(root: hvac.Client) -> None:
    kv = root.secrets.kv.v2
    kv.create_or_update_secret("app/db", {"password": "one"})
    kv.create_or_update_secret("app/db", {"password": "two"})
    kv.destroy_secret_versions("app/db", [1])
    kv.undelete_secret_versions("app/db", [1])

    with pytest.raises(exceptions.InvalidPath):
        read(root, "app/db", version=1, raise_on_deleted_version=False)  # it has no deletion time
    versions = kv.read_secret_metadata("app/db")["data"]["versions"]
    assert [versions[number]["destroyed"] for number in ("1", "2")] == [True, False]


def test_a_deletion_time_to_come_does_not_hide_a_version(root: hvac.Client, clock: ManualClock) -> None:
    root.secrets.kv.v2.configure(delete_version_after="1h30m")
    root.secrets.kv.v2.create_or_update_secret("app/db", {"password": "one"})

    shown = read(root, "app/db", raise_on_deleted_version=False)
    assert shown["data"] == {"password": "one"}
    assert shown["metadata"]["deletion_time"] == "2026-09-21T15:43:20.000000000Z"  # type: ignore[index]  # JSON
    clock.advance(90 * 60)
    with pytest.raises(exceptions.InvalidPath):
        read(root, "app/db")


def test_old_versions_fall_out(root: hvac.Client) -> None:
    kv = root.secrets.kv.v2
    kv.update_metadata("app/db", max_versions=2, custom_metadata={"owner": "ops"})
    for number in range(4):
        kv.create_or_update_secret("app/db", {"n": number})

    assert list(kv.read_secret_metadata("app/db")["data"]["versions"]) == ["3", "4"]
    assert read(root, "app/db")["metadata"]["custom_metadata"] == {"owner": "ops"}  # type: ignore[index]  # JSON
    with pytest.raises(exceptions.InvalidPath):
        read(root, "app/db", version=2)
    kv.delete_metadata_and_all_versions("app/db")
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret_metadata("app/db")


def test_a_list_shows_secrets_and_folders_and_no_values(root: hvac.Client) -> None:
    for path in ("foo", "foo/bar", "other/deep/one"):
        root.secrets.kv.v2.create_or_update_secret(path, {"password": "one"})
    assert root.secrets.kv.v2.list_secrets("")["data"] == {"keys": ["foo", "foo/", "other/"]}
    assert root.secrets.kv.v2.list_secrets("other")["data"] == {"keys": ["deep/"]}
    strict = hvac.Client(url=root.url, token=root.token, strict_http=True)
    assert strict.secrets.kv.v2.list_secrets("foo")["data"] == {"keys": ["bar"]}


def test_mounts_with_slashes_and_both_versions_are_told_apart(root: hvac.Client, vault: VaultServer) -> None:
    root.sys.enable_secrets_engine("kv", path="teams/a/kv", options={"version": "2"})
    root.sys.enable_secrets_engine("kv", path="teams/a/old", options={"version": "1"})
    root.sys.enable_secrets_engine("kv", path="older")
    root.secrets.kv.v2.create_or_update_secret("db", {"password": "new"}, mount_point="teams/a/kv")
    root.secrets.kv.v1.create_or_update_secret("db", {"password": "old", "ttl": "30m"}, mount_point="teams/a/old")
    with pytest.raises(exceptions.InvalidRequest, match="already in use"):
        root.sys.enable_secrets_engine("kv", path="older")

    assert read(root, "db", mount="teams/a/kv")["data"] == {"password": "new"}
    answer = root.secrets.kv.v1.read_secret("db", mount_point="teams/a/old")
    assert answer["data"] == {"password": "old", "ttl": "30m"}
    assert answer["lease_duration"] == 1800
    assert root.secrets.kv.v1.list_secrets("", mount_point="teams/a/old")["data"]["keys"] == ["db"]

    about = {path: root.read(f"sys/internal/ui/mounts/{path}")["data"] for path in ("teams/a/kv/db", "teams/a/old")}
    assert about["teams/a/kv/db"]["path"] == "teams/a/kv/"
    assert about["teams/a/kv/db"]["options"] == {"version": "2"}
    assert about["teams/a/old"]["options"] == {"version": "1"}
    assert root.read("sys/internal/ui/mounts/older")["data"]["options"] is None
    assert set(root.read("sys/internal/ui/mounts")["data"]["secret"]) == {
        "secret/",
        "teams/a/kv/",
        "teams/a/old/",
        "older/",
    }


def test_a_path_of_version_1_on_version_2_is_told(root: hvac.Client) -> None:
    root.secrets.kv.v2.create_or_update_secret("db", {"password": "one"})
    with pytest.raises(exceptions.InvalidPath) as caught:
        root.secrets.kv.v1.read_secret("db", mount_point="secret")
    assert caught.value.json["warnings"] == ["Invalid path for a versioned K/V secrets engine."]


def test_what_cannot_be_read_is_an_invalid_request(root: hvac.Client, vault: VaultServer) -> None:
    with pytest.raises(exceptions.InvalidRequest, match="no data provided"):
        root.write("secret/data/db", password="one")
    refused = requests.post(
        f"{vault.url}/v1/secret/data/db", b"{", headers={"X-Vault-Token": vault.root_token}, timeout=5
    )
    assert (refused.status_code, refused.json()) == (400, {"errors": ["failed to parse JSON input"]})


# -- namespaces -------------------------------------------------------------------------------------------------------


def test_a_namespace_is_a_world_of_its_own(root: hvac.Client, vault: VaultServer) -> None:
    root.sys.create_namespace("team")
    vault.write("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, namespace="team")
    inside = client_of(vault, vault.root_token, namespace="team")
    inside.secrets.kv.v2.create_or_update_secret("db", {"password": "team"})
    root.secrets.kv.v2.create_or_update_secret("db", {"password": "root"})

    assert read(inside, "db")["data"] == {"password": "team"}
    assert read(root, "db")["data"] == {"password": "root"}
    assert read(root, "db", mount="team/secret")["data"] == {"password": "team"}
    assert vault.journal[-1] == Request("GET", "secret/data/db", "team", vault.journal[-1].accessor, 200)

    vault.policy("reader", {"secret/data/*": ["read"]}, namespace="team")
    vault.write("sys/auth/approle", {"type": "approle"}, namespace="team")
    vault.write("auth/approle/role/app", {"token_policies": ["reader"]}, namespace="team")
    member = client_of(vault, namespace="team")
    member.auth.approle.login(
        inside.auth.approle.read_role_id("app")["data"]["role_id"],
        inside.auth.approle.generate_secret_id("app")["data"]["secret_id"],
    )
    assert read(member, "db")["data"] == {"password": "team"}
    outside = client_of(vault, member.token)
    with pytest.raises(exceptions.Forbidden):
        read(outside, "db")


# -- tokens and policies ----------------------------------------------------------------------------------------------


def test_a_policy_decides_by_its_most_specific_pattern(root: hvac.Client, vault: VaultServer) -> None:
    rules = {
        "secret/data/app/*": ["read", "create"],
        "secret/data/app/private": ["deny"],
        "secret/data/+/shared": ["read"],
        "secret/metadata/app/*": ["list"],
    }
    root.sys.create_or_update_policy("ci", {"path": {path: {"capabilities": given} for path, given in rules.items()}})
    for path in ("app/db", "app/private", "other/shared", "other/db"):
        root.secrets.kv.v2.create_or_update_secret(path, {"password": "one"})
    client = client_of(vault, root.auth.token.create(policies=["ci"])["auth"]["client_token"])

    assert read(client, "app/db")["data"] == {"password": "one"}
    assert read(client, "other/shared")["data"] == {"password": "one"}
    assert client.secrets.kv.v2.list_secrets("app")["data"]["keys"] == ["db", "private"]
    client.secrets.kv.v2.create_or_update_secret("app/new", {"password": "one"})
    for call in (
        lambda: read(client, "app/private"),
        lambda: read(client, "other/db"),
        lambda: client.secrets.kv.v2.create_or_update_secret("app/new", {"password": "two"}),  # create, not update
        lambda: client.secrets.kv.v2.delete_latest_version_of_secret("app/new"),
        lambda: client.sys.list_mounted_secrets_engines(),
        lambda: client.read("sys/internal/ui/mounts/elsewhere"),
    ):
        with pytest.raises(exceptions.Forbidden):
            call()
    assert client.read("sys/internal/ui/mounts/secret")["data"]["options"] == {"version": "2"}


@pytest.mark.parametrize("token", [None, "", "hvs.unknown"])
def test_without_a_valid_token_everything_is_forbidden(vault: VaultServer, token: str | None) -> None:
    with pytest.raises(exceptions.Forbidden, match="permission denied"):
        read(client_of(vault, token), "app/db")
    assert client_of(vault, token).is_authenticated() is False


def test_a_token_is_renewed_up_to_its_maximum_and_then_expires(
    root: hvac.Client, vault: VaultServer, clock: ManualClock
) -> None:
    given = root.auth.token.create(ttl="10m", explicit_max_ttl="25m")["auth"]
    assert (given["lease_duration"], given["renewable"]) == (600, True)
    client = client_of(vault, given["client_token"])
    about = client.auth.token.lookup_self()["data"]
    assert (about["ttl"], about["creation_ttl"], about["explicit_max_ttl"]) == (600, 600, 1500)
    assert (about["policies"], about["accessor"]) == (["root"], given["accessor"])

    clock.advance(9 * 60)
    assert client.auth.token.renew_self()["auth"]["lease_duration"] == 600
    clock.advance(9 * 60)
    capped = client.auth.token.renew_self(increment="1h")
    assert capped["auth"]["lease_duration"] == 7 * 60
    assert "exceeded the effective max_ttl" in capped["warnings"][0]
    clock.advance(7 * 60)
    with pytest.raises(exceptions.Forbidden):
        client.auth.token.renew_self()
    assert vault.renewals == 3
    assert [entry.status for entry in vault.journal if entry.path.endswith("renew-self")] == [200, 200, 403]


def test_a_token_that_is_not_renewable_says_so(root: hvac.Client, vault: VaultServer) -> None:
    client = client_of(vault, root.auth.token.create(ttl="10m", renewable=False)["auth"]["client_token"])
    assert client.auth.token.lookup_self()["data"]["renewable"] is False
    for one in (client, root):
        with pytest.raises(exceptions.InvalidRequest, match="lease is not renewable"):
            one.auth.token.renew_self()


def test_a_periodic_token_is_renewed_for_ever(root: hvac.Client, vault: VaultServer, clock: ManualClock) -> None:
    client = client_of(vault, root.auth.token.create(period="10m")["auth"]["client_token"])
    for _ in range(5):
        clock.advance(9 * 60)
        assert client.auth.token.renew_self(increment="1h")["auth"]["lease_duration"] == 600


def test_a_token_is_revoked_by_itself_by_accessor_and_by_its_last_use(root: hvac.Client, vault: VaultServer) -> None:
    first, second, third = (root.auth.token.create(num_uses=uses)["auth"] for uses in (0, 0, 1))
    client_of(vault, first["client_token"]).auth.token.revoke_self()
    assert root.auth.token.lookup_accessor(second["accessor"])["data"]["id"] == ""
    root.auth.token.revoke_accessor(second["accessor"])
    assert third["num_uses"] == 1
    assert client_of(vault, third["client_token"]).is_authenticated()
    for gone in (first, second, third):
        assert not client_of(vault, gone["client_token"]).is_authenticated()


def test_a_child_token_has_at_most_the_policies_of_its_parent(root: hvac.Client, vault: VaultServer) -> None:
    vault.policy("ci", {"auth/token/create": ["update"]})
    client = client_of(vault, root.auth.token.create(policies=["ci"])["auth"]["client_token"])
    assert client.auth.token.create(policies=["ci"])["auth"]["policies"] == ["ci", "default"]
    with pytest.raises(exceptions.InvalidRequest, match="subset of parent"):
        client.auth.token.create(policies=["root"])


# -- logins -----------------------------------------------------------------------------------------------------------


def test_an_approle_login_gives_a_token_with_a_lease(root: hvac.Client, vault: VaultServer, clock: ManualClock) -> None:
    root.sys.enable_auth_method("approle", path="approle")
    vault.policy("app", {"secret/data/*": ["read"]})
    root.secrets.kv.v2.create_or_update_secret("db", {"password": "one"})
    root.auth.approle.create_or_update_approle("app", token_policies=["app"], token_ttl="20m", token_max_ttl="30m")
    role_id = root.auth.approle.read_role_id("app")["data"]["role_id"]
    secret_id = root.auth.approle.generate_secret_id("app")["data"]["secret_id"]

    client = client_of(vault)
    auth = client.auth.approle.login(role_id, secret_id)["auth"]

    assert (auth["lease_duration"], auth["renewable"], auth["policies"]) == (1200, True, ["app", "default"])
    assert auth["metadata"] == {"role_name": "app"}
    assert read(client, "db")["data"] == {"password": "one"}
    assert vault.journal[-1].accessor == auth["accessor"]
    clock.advance(20 * 60)
    with pytest.raises(exceptions.Forbidden):  # it expired in mid-run
        read(client, "db")
    client.auth.approle.login(role_id, secret_id)
    assert read(client, "db")["data"] == {"password": "one"}
    assert vault.logins == 2
    assert vault.count("secret/data/db", method="GET") == 3


@pytest.mark.parametrize("options", [{"num_uses": 1}, {"ttl": "1m"}])
def test_a_secret_id_can_be_for_one_use_or_a_while(
    root: hvac.Client, vault: VaultServer, clock: ManualClock, options: dict[str, object]
) -> None:
    vault.write("sys/auth/ci/roles", {"type": "approle"})
    vault.write("auth/ci/roles/role/app", {"token_policies": "app"})
    role_id = root.auth.approle.read_role_id("app", mount_point="ci/roles")["data"]["role_id"]
    given = vault.write("auth/ci/roles/role/app/secret-id", options)
    login = client_of(vault).auth.approle.login
    login(role_id, given["secret_id"], mount_point="ci/roles")
    clock.advance(60)
    with pytest.raises(exceptions.InvalidRequest, match="invalid role or secret ID"):
        login(role_id, given["secret_id"], mount_point="ci/roles")


def test_an_approle_login_without_the_right_ids_is_an_invalid_request(root: hvac.Client, vault: VaultServer) -> None:
    root.sys.enable_auth_method("approle")
    with pytest.raises(exceptions.InvalidRequest, match="already in use"):
        root.sys.enable_auth_method("approle")
    for name in ("app", "other"):
        root.auth.approle.create_or_update_approle(name)
    role_id = root.auth.approle.read_role_id("app")["data"]["role_id"]
    foreign = root.auth.approle.generate_secret_id("other")["data"]["secret_id"]
    login = client_of(vault).auth.approle.login
    for arguments, message in (
        ((role_id, "wrong"), "invalid role or secret ID"),
        ((role_id, foreign), "invalid role or secret ID"),
        (("wrong", foreign), "invalid role or secret ID"),
        ((role_id,), "missing secret_id"),
        (("",), "missing role_id"),
    ):
        with pytest.raises(exceptions.InvalidRequest, match=message):
            login(*arguments)
    root.auth.approle.create_or_update_approle("app", bind_secret_id=False)
    assert login(role_id)["auth"]["client_token"]
    assert root.auth.approle.list_roles()["data"]["keys"] == ["app", "other"]


def test_a_kubernetes_login_needs_a_token_of_a_bound_service_account(
    root: hvac.Client, vault: VaultServer, clock: ManualClock
) -> None:
    root.sys.enable_auth_method("kubernetes")
    vault.write(
        "auth/kubernetes/role/app",
        {
            "bound_service_account_names": ["worker"],
            "bound_service_account_namespaces": ["jobs"],
            "audience": "vault",
            "token_policies": ["app"],
            "token_ttl": 600,
        },
    )
    cluster = vault.kubernetes()
    jwt = cluster.issue_jwt("worker", "jobs")
    client = client_of(vault)
    auth = client.auth.kubernetes.login("app", jwt)["auth"]
    assert (auth["lease_duration"], auth["policies"]) == (600, ["app", "default"])
    assert auth["metadata"]["service_account_name"] == "worker"
    assert client.is_authenticated()

    for other in (
        cluster.issue_jwt("other", "jobs"),
        cluster.issue_jwt("worker", "default"),
        cluster.issue_jwt("worker", "jobs", audience="elsewhere"),
        jwt[:-1],
    ):
        with pytest.raises(exceptions.Forbidden):
            client.auth.kubernetes.login("app", other)
    clock.advance(3600)
    with pytest.raises(exceptions.Forbidden):
        client.auth.kubernetes.login("app", jwt)
    with pytest.raises(exceptions.InvalidRequest, match="invalid role name"):
        client.auth.kubernetes.login("none", jwt)
    assert vault.logins == 7


# -- transit ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def transit(root: hvac.Client) -> hvac.Client:
    root.sys.enable_secrets_engine("transit", path="keys/transit")
    root.secrets.transit.create_key("app", mount_point="keys/transit")
    return root


def test_transit_encrypts_with_associated_data(transit: hvac.Client) -> None:
    engine, mount = transit.secrets.transit, "keys/transit"
    bound = encoded("tenant|name")
    sealed = transit.write("keys/transit/encrypt/app", plaintext=encoded("hello"), associated_data=bound)["data"]
    assert sealed["ciphertext"].startswith("vault:v1:")
    opened = transit.write("keys/transit/decrypt/app", ciphertext=sealed["ciphertext"], associated_data=bound)
    assert opened["data"] == {"plaintext": encoded("hello")}

    raw = base64.b64decode(sealed["ciphertext"].split(":")[2])
    changed = base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()
    for ciphertext, data in (
        (sealed["ciphertext"], encoded("tenant|other")),
        (sealed["ciphertext"], ""),
        (f"vault:v1:{changed}", bound),
    ):
        with pytest.raises(exceptions.InvalidRequest, match="message authentication failed"):
            transit.write("keys/transit/decrypt/app", ciphertext=ciphertext, associated_data=data)
    for ciphertext, message in (
        (sealed["ciphertext"].removeprefix("vault:"), "no prefix"),
        (sealed["ciphertext"].replace("v1", "v2"), "version is too new"),
        ("vault:v1:*", "base64"),
    ):
        with pytest.raises(exceptions.InvalidRequest, match=message):
            engine.decrypt_data("app", ciphertext, mount_point=mount)
    with pytest.raises(exceptions.InvalidRequest, match="encryption key not found"):
        engine.decrypt_data("none", sealed["ciphertext"], mount_point=mount)


def test_transit_rotates_rewraps_and_retires_versions(transit: hvac.Client) -> None:
    engine, mount = transit.secrets.transit, "keys/transit"
    old = engine.encrypt_data("app", encoded("hello"), mount_point=mount)["data"]["ciphertext"]
    engine.rotate_key("app", mount_point=mount)
    assert engine.read_key("app", mount_point=mount)["data"]["latest_version"] == 2
    assert engine.decrypt_data("app", old, mount_point=mount)["data"]["plaintext"] == encoded("hello")

    new = engine.rewrap_data("app", old, mount_point=mount)["data"]["ciphertext"]
    assert new.startswith("vault:v2:")
    engine.update_key_configuration("app", min_decryption_version=2, mount_point=mount)
    assert engine.decrypt_data("app", new, mount_point=mount)["data"]["plaintext"] == encoded("hello")
    with pytest.raises(exceptions.InvalidRequest, match="too old"):
        engine.decrypt_data("app", old, mount_point=mount)
    with pytest.raises(exceptions.InvalidRequest, match="deletion is not allowed"):
        engine.delete_key("app", mount_point=mount)


def test_transit_derives_keys_from_a_context(transit: hvac.Client) -> None:
    engine, mount = transit.secrets.transit, "keys/transit"
    engine.create_key("derived", derived=True, mount_point=mount)
    with pytest.raises(exceptions.InvalidRequest, match="missing 'context' for key derivation"):
        engine.encrypt_data("derived", encoded("hello"), mount_point=mount)
    sealed = engine.encrypt_data("derived", encoded("hello"), context=encoded("a"), mount_point=mount)["data"]
    assert engine.decrypt_data("derived", sealed["ciphertext"], context=encoded("a"), mount_point=mount)["data"] == {
        "plaintext": encoded("hello")
    }
    with pytest.raises(exceptions.InvalidRequest, match="message authentication failed"):
        engine.decrypt_data("derived", sealed["ciphertext"], context=encoded("b"), mount_point=mount)


def test_transit_gives_data_keys(transit: hvac.Client) -> None:
    engine, mount = transit.secrets.transit, "keys/transit"
    given = engine.generate_data_key("app", "plaintext", mount_point=mount)["data"]
    assert len(base64.b64decode(given["plaintext"])) == 32
    opened = engine.decrypt_data("app", given["ciphertext"], mount_point=mount)["data"]
    assert opened["plaintext"] == given["plaintext"]
    assert "plaintext" not in engine.generate_data_key("app", "wrapped", mount_point=mount)["data"]


def test_transit_does_batches_item_by_item(transit: hvac.Client, vault: VaultServer) -> None:
    batch = [{"plaintext": encoded("one")}, {"plaintext": encoded("two")}]
    sealed = transit.secrets.transit.encrypt_data("app", batch_input=batch, mount_point="keys/transit")["data"]
    items = [{"ciphertext": item["ciphertext"]} for item in sealed["batch_results"]]
    opened = transit.secrets.transit.decrypt_data("app", batch_input=items, mount_point="keys/transit")["data"]
    assert opened["batch_results"] == batch
    with pytest.raises(exceptions.InvalidRequest) as caught:
        transit.secrets.transit.decrypt_data(
            "app", batch_input=[*items, {"ciphertext": "x"}], mount_point="keys/transit"
        )
    assert [sorted(item) for item in caught.value.json["data"]["batch_results"]] == [
        ["plaintext"],
        ["plaintext"],
        ["error"],
    ]


def test_encrypting_creates_a_key_for_those_who_may_create(transit: hvac.Client, vault: VaultServer) -> None:
    vault.policy("app", {"keys/transit/encrypt/*": ["update"]})
    client = client_of(vault, transit.auth.token.create(policies=["app"])["auth"]["client_token"])
    client.secrets.transit.encrypt_data("app", encoded("hello"), mount_point="keys/transit")
    with pytest.raises(exceptions.Forbidden):
        client.secrets.transit.encrypt_data("new", encoded("hello"), mount_point="keys/transit")
    vault.policy("app", {"keys/transit/encrypt/*": ["create", "update"]})
    client.secrets.transit.encrypt_data("new", encoded("hello"), context=encoded("a"), mount_point="keys/transit")
    assert transit.secrets.transit.read_key("new", mount_point="keys/transit")["data"]["derived"] is True


# -- states and faults ------------------------------------------------------------------------------------------------


def test_a_sealed_vault_is_down(root: hvac.Client, vault: VaultServer) -> None:
    assert root.sys.read_health_status().status_code == 200
    vault.seal()
    with pytest.raises(exceptions.VaultDown, match="Vault is sealed"):
        read(root, "db")
    assert root.sys.is_sealed() is True
    assert root.sys.read_health_status().status_code == 503
    vault.unseal()
    assert root.sys.is_sealed() is False


def test_a_standby_says_so_in_its_health_and_forwards_or_redirects(root: hvac.Client, vault: VaultServer) -> None:
    root.secrets.kv.v2.create_or_update_secret("db", {"password": "one"})
    vault.standby()
    assert root.sys.read_health_status(method="HEAD").status_code == 429
    health = root.sys.read_health_status(method="GET")
    assert (health.status_code, health.json()["standby"]) == (429, True)
    assert root.sys.read_health_status(method="GET", standby_ok="true")["standby"] is True
    assert read(root, "db")["data"] == {"password": "one"}

    vault.standby(performance=True)
    assert root.sys.read_health_status(method="HEAD").status_code == 473

    vault.write("sys/namespaces/team")
    vault.write("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, namespace="team")
    vault.write("secret/data/db", {"data": {"password": "team"}}, namespace="team")
    with VaultServer() as standby:
        standby.standby(active=vault.url)
        redirected = client_of(standby, vault.root_token, namespace="team")
        assert read(redirected, "db", version=1)["data"] == {"password": "team"}
    vault.activate()
    assert root.sys.read_health_status().status_code == 200


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, exceptions.InvalidRequest),
        (403, exceptions.Forbidden),
        (404, exceptions.InvalidPath),
        (412, exceptions.UnexpectedError),
        (429, exceptions.RateLimitExceeded),
        (500, exceptions.InternalServerError),
        (502, exceptions.BadGateway),
        (503, exceptions.VaultDown),
    ],
)
def test_a_failure_is_told_and_passes(
    root: hvac.Client, vault: VaultServer, status: int, error: type[exceptions.VaultError]
) -> None:
    root.secrets.kv.v2.create_or_update_secret("db", {"password": "one"})
    vault.fail(status, "as told", path="secret/data", retry_after=7)
    assert root.auth.token.lookup_self()
    with pytest.raises(error, match="as told"):
        read(root, "db")
    assert read(root, "db")["data"] == {"password": "one"}


def test_retry_after_is_in_the_header(vault: VaultServer) -> None:
    vault.fail(429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT", times=None)
    for _ in range(2):
        answer = requests.get(f"{vault.url}/v1/secret/data/db", timeout=5)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "Wed, 21 Oct 2026 07:28:00 GMT")
    vault.heal()
    assert requests.get(f"{vault.url}/v1/secret/data/db", timeout=5).status_code == 403


def test_a_slow_answer_runs_into_the_clients_timeout(vault: VaultServer) -> None:
    vault.slow(3600)
    client = hvac.Client(url=vault.url, token=vault.root_token, timeout=0.05)
    with pytest.raises(requests.exceptions.ReadTimeout):
        client.auth.token.lookup_self()
    assert client_of(vault, vault.root_token).is_authenticated()


def test_a_dropped_connection_is_no_answer_before_or_after_the_work(root: hvac.Client, vault: VaultServer) -> None:
    for afterwards in (False, True):
        vault.drop(afterwards=afterwards)
        with pytest.raises(requests.exceptions.ConnectionError):
            root.secrets.kv.v2.create_or_update_secret("db", {"after": afterwards})
        assert vault.journal[-1].status == 0
    assert read(root, "db")["data"] == {"after": True}
    assert read(root, "db")["metadata"]["version"] == 1  # type: ignore[index]  # JSON


def test_an_answer_that_is_not_json_reaches_the_caller_as_a_response(root: hvac.Client, vault: VaultServer) -> None:
    vault.garble(times=2)
    assert isinstance(root.auth.token.lookup_self(), requests.Response)
    with pytest.raises(TypeError):  # hvac takes the response for a dict
        root.auth.approle.login("role", "secret")
    vault.garble(b"Bad Gateway", status=502)
    with pytest.raises(exceptions.BadGateway, match="Bad Gateway"):
        root.auth.token.lookup_self()


def test_methods_and_paths_that_are_not_there(root: hvac.Client, vault: VaultServer) -> None:
    headers = {"X-Vault-Token": vault.root_token}
    assert requests.patch(f"{vault.url}/v1/secret/data/db", headers=headers, timeout=5).status_code == 405
    assert requests.delete(f"{vault.url}/v1/secret/config", headers=headers, timeout=5).status_code == 405
    for path in ("v1/nowhere", "v1/sys/nothing", "v1/auth/none/role", "v2/secret/data/db", "v1/transit/keys/app"):
        answer = requests.get(f"{vault.url}/{path}", headers=headers, timeout=5)
        assert (answer.status_code, answer.json()) == (404, {"errors": []})
    with pytest.raises(Refusal):
        vault.write("sys/mounts/db", {"type": "database"})


def test_the_journal_holds_no_secrets(root: hvac.Client, vault: VaultServer) -> None:
    root.secrets.kv.v2.create_or_update_secret("db", {"password": "hunter2"})
    read(root, "db")
    bearer = requests.get(
        f"{vault.url}/v1/secret/data/db", headers={"Authorization": f"Bearer {vault.root_token}"}, timeout=5
    )
    assert bearer.json()["data"]["data"] == {"password": "hunter2"}
    assert [entry[:2] for entry in vault.journal] == [
        ("POST", "secret/data/db"),
        ("GET", "secret/data/db"),
        ("GET", "secret/data/db"),
    ]
    assert len({entry.accessor for entry in vault.journal}) == 1
    text = json.dumps(vault.journal) + repr(vault.journal)
    assert "hunter2" not in text
    assert vault.root_token not in text
