"""Keys that are held elsewhere: AWS KMS as moto serves it to boto3, Vault transit as the test Vault does to hvac."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from automate_core import redaction
from automate_core.errors import (
    ConfigurationError,
    SecretAccessDenied,
    SecretBackendUnavailable,
    SecretDecryptionError,
)
from automate_core.settings import AwsSettings, SecretSettings, VaultSettings
from automate_secrets.db import DbBackend
from automate_secrets.envelope import decrypt, encrypt
from automate_secrets.inventory import examine
from automate_secrets.keys import Binding, KeyRing
from automate_secrets.keys._aws_kms import KmsKey
from automate_secrets.keys._unwrapped import Unwrapped
from automate_secrets.keys._vault_transit import TransitKey
from automate_secrets.models import Secret
from automate_secrets.rewrap import rewrap_rows
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from vault_server import VaultServer

PLACE = Binding("acme", "API_KEY", 3)
OTHER_PLACES = [
    Binding("ACME", "API_KEY", 3),
    Binding("", "API_KEY", 3),
    Binding("acme", "OTHER", 3),
    Binding("acme", "API_KEY", 4),
    Binding("acme", "API_KEY", 3, "password"),
]
LOCAL = base64.b64encode(bytes([9] * 32)).decode()
DATA_KEY = bytes(range(32))


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """The address of moto's server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    with VaultServer() as server:
        server.write("sys/mounts/keys/transit", {"type": "transit"})
        server.write("keys/transit/keys/automate", {})
        yield server


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    credentials = {"AWS_ACCESS_KEY_ID": "of-the-tests", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests"}
    for name, value in {**credentials, "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    yield
    redaction.forget(LOCAL)


def of_kms(aws: str) -> Any:
    return boto3.client("kms", endpoint_url=aws, region_name="eu-west-1")


@dataclass
class Elsewhere:
    """Where a key is held: the settings that name it."""

    settings: SecretSettings
    kind: str

    @property
    def ring(self) -> KeyRing:
        return KeyRing.from_settings(self.settings)

    def active(self, key_id: str) -> DbBackend:
        return DbBackend(self.settings.model_copy(update={"active_key": key_id}))


@pytest.fixture(params=["kms", "transit"])
def elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    if request.param == "kms":
        address = request.getfixturevalue("aws")
        arn = of_kms(address).create_key()["KeyMetadata"]["Arn"]
        keys = {"near": LOCAL, "far": f"aws-kms:{arn}"}
        return Elsewhere(SecretSettings(keys=keys, aws=AwsSettings(endpoint=address, region="eu-west-1")), "K")
    server = request.getfixturevalue("vault")
    monkeypatch.setenv("TEST_VAULT_TOKEN", server.root_token)
    keys = {"near": LOCAL, "far": "vault-transit:keys/transit/automate"}
    vault = VaultSettings(address=server.url, token="$env:TEST_VAULT_TOKEN")
    return Elsewhere(SecretSettings(keys=keys, vault=vault), "V")


# -- both -------------------------------------------------------------------------------------------------------------


def test_a_value_comes_back_and_its_header_says_where_its_key_is(elsewhere: Elsewhere) -> None:
    envelope = encrypt("a secret", PLACE, elsewhere.ring)
    assert envelope[:8] == b"AS\x02" + elsewhere.kind.encode() + b"\x03far"
    assert decrypt(envelope, PLACE, elsewhere.ring) == "a secret"
    assert redaction.redact_text("aws-kms vault-transit far") == "aws-kms vault-transit far"


def test_each_part_of_the_place_is_bound(elsewhere: Elsewhere) -> None:
    wrapped = elsewhere.ring.find("far").wrap(DATA_KEY, PLACE)
    key = elsewhere.ring.find("far")
    assert key.unwrap(wrapped, PLACE) == DATA_KEY
    for other in OTHER_PLACES:  # the data key is kept for its own place now, and for no other
        with pytest.raises(SecretDecryptionError, match="changed or moved"):
            key.unwrap(wrapped, other)


def test_every_changed_byte_of_the_envelope_is_refused(elsewhere: Elsewhere) -> None:
    ring = elsewhere.ring
    envelope = encrypt("a secret", PLACE, ring)
    for position in range(len(envelope)):
        changed = bytearray(envelope)
        changed[position] ^= 1
        with pytest.raises(SecretDecryptionError):
            decrypt(bytes(changed), PLACE, ring)
    for cut in (0, 1, 20, len(envelope) - 1):
        with pytest.raises(SecretDecryptionError):
            decrypt(envelope[:cut], PLACE, ring)


@pytest.mark.usefixtures("database")
def test_rows_go_there_and_back_while_they_are_read(elsewhere: Elsewhere) -> None:
    near, far = elsewhere.active("near"), elsewhere.active("far")
    for number in range(5):
        near.set(f"SECRET_{number}", f"value {number}", tenant="acme")
    for active in (far, near, far):
        assert rewrap_rows(active.ring, size=2).rewrapped == 5
        assert set(Secret.objects.values_list("key_id", flat=True)) == {active.ring.active}
        for reader in (near, far):
            assert [reader.get(f"SECRET_{number}", tenant="acme") for number in range(5)] == [
                f"value {number}" for number in range(5)
            ]
    assert examine(far.ring).problems == []
    far.set("SECRET_0", "another value", tenant="acme")
    assert near.get("SECRET_0", tenant="acme") == "another value"


@pytest.mark.usefixtures("database")
def test_an_outage_is_no_damage(elsewhere: Elsewhere) -> None:
    far = elsewhere.active("far")
    far.set("API_KEY", "a value")
    elsewhere.active("near").set("OTHER", "another value")
    gone: dict[str, Any] = {"aws": elsewhere.settings.aws.model_copy(update={"endpoint": "http://127.0.0.1:9"})}
    gone |= {"vault": elsewhere.settings.vault.model_copy(update={"address": "http://127.0.0.1:9"})}
    cut_off = DbBackend(elsewhere.settings.model_copy(update=gone))
    with pytest.raises(SecretBackendUnavailable) as raised:
        cut_off.get("API_KEY")
    assert raised.value.retryable
    assert cut_off.get("OTHER") == "another value"
    with pytest.raises(SecretBackendUnavailable):
        cut_off.set("API_KEY", "a second value")
    with pytest.raises(SecretBackendUnavailable):
        rewrap_rows(DbBackend(elsewhere.settings.model_copy(update={**gone, "active_key": "near"})).ring)
    found = examine(cut_off.ring)
    assert [row.secret.name for row in found.refused] == ["API_KEY"]
    assert "could not be tried" in found.refused[0].why
    assert far.get("API_KEY") == "a value"
    assert not {"a value", "a second value"} & {str(raised.value), *found.problems}


def test_no_sdk_is_imported_before_a_key_is_used() -> None:
    code = (
        "import sys\n"
        "from automate_core.settings import SecretSettings\n"
        "from automate_secrets.keys import KeyRing\n"
        "KeyRing.from_settings(SecretSettings(keys={'k': 'aws-kms:alias/a', 'v': 'vault-transit:a'}))\n"
        "print(sorted({'boto3', 'botocore', 'hvac', 'requests', 'cryptography', 'django'} & {*sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("key", "module", "extra"),
    [
        (KmsKey("k", "alias/a", AwsSettings()), "_aws_client", "aws"),
        (TransitKey("k", "transit/a", VaultSettings()), "_vault_client", "vault"),
    ],
)
def test_a_key_whose_extra_is_not_installed_says_what_to_install(
    key: KmsKey | TransitKey, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"automate_secrets.{module}", None)
    with pytest.raises(SecretBackendUnavailable, match=rf"'k'.*automate-secrets\[{extra}\]") as caught:
        key.wrap(bytes(32), PLACE)
    assert not caught.value.retryable


# -- AWS KMS ----------------------------------------------------------------------------------------------------------


def test_kms_binds_the_context_and_refuses_another(aws: str) -> None:
    client = of_kms(aws)
    arn = client.create_key()["KeyMetadata"]["Arn"]
    settings = AwsSettings(endpoint=aws, region="eu-west-1")
    wrapped = KmsKey("far", arn, settings).wrap(DATA_KEY, PLACE)
    context = {"tenant": "acme", "name": "API_KEY", "version": "3", "field": "value", "key_id": "far"}
    assert client.decrypt(CiphertextBlob=wrapped, EncryptionContext=context)["Plaintext"] == DATA_KEY
    for part in context:
        with pytest.raises(ClientError, match="InvalidCiphertext"):
            client.decrypt(CiphertextBlob=wrapped, EncryptionContext={**context, part: "other"})
    with pytest.raises(SecretDecryptionError):
        KmsKey("another-id", arn, settings).unwrap(wrapped, PLACE)
    with pytest.raises(SecretDecryptionError):
        KmsKey("far", client.create_key()["KeyMetadata"]["Arn"], settings).unwrap(wrapped, PLACE)


def test_kms_finds_a_key_by_its_alias(aws: str) -> None:
    client = of_kms(aws)
    key = client.create_key()["KeyMetadata"]["KeyId"]
    client.create_alias(AliasName="alias/automate", TargetKeyId=key)
    by_alias = KmsKey("far", "alias/automate", AwsSettings(endpoint=aws, region="eu-west-1"))
    by_id = KmsKey("far", key, AwsSettings(endpoint=aws, region="eu-west-1"))
    assert by_id.unwrap(by_alias.wrap(DATA_KEY, PLACE), PLACE) == DATA_KEY


def test_kms_says_what_is_wrong_with_a_key(aws: str) -> None:
    settings = AwsSettings(endpoint=aws, region="eu-west-1")
    with pytest.raises(SecretBackendUnavailable, match="NotFoundException") as raised:
        KmsKey("far", "alias/missing", settings).wrap(DATA_KEY, PLACE)
    assert not raised.value.retryable
    with pytest.raises(SecretBackendUnavailable, match="NotFoundException"):
        KmsKey("far", "alias/missing", settings).unwrap(DATA_KEY, PLACE)
    with pytest.raises(ConfigurationError, match="aws-kms:"):
        KmsKey("far", " ", settings)


# -- Vault transit ----------------------------------------------------------------------------------------------------


@pytest.fixture
def transit(vault: VaultServer, monkeypatch: pytest.MonkeyPatch) -> TransitKey:
    monkeypatch.setenv("TEST_VAULT_TOKEN", vault.root_token)
    return TransitKey("far", "keys/transit/automate", VaultSettings(address=vault.url, token="$env:TEST_VAULT_TOKEN"))


def test_transit_has_one_spelling_of_a_ciphertext(transit: TransitKey) -> None:
    """The last letter of base64 may say the same bytes in several ways; a changed one is refused all the same."""
    wrapped = transit.wrap(DATA_KEY, PLACE)
    for spelled in (
        wrapped + b"\n",
        wrapped.replace(b":v1:", b":v01:"),
        wrapped.replace(b":v1:", b":v1:\n"),
        b"",
        b"x",
    ):
        with pytest.raises(SecretDecryptionError):
            transit.unwrap(spelled, PLACE)
    ends = [letter.encode() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"]
    at = len(wrapped.rstrip(b"=")) - 1
    accepted = []
    for letter in ends:
        with suppress(SecretDecryptionError):
            accepted.append(transit.unwrap(wrapped[:at] + letter + wrapped[at + 1 :], PLACE))
    assert accepted == [DATA_KEY]


def test_transit_of_a_vault_that_ignores_associated_data_is_bound_too(vault: VaultServer, transit: TransitKey) -> None:
    plain = base64.b64encode(DATA_KEY + bytes(32)).decode()
    bound = base64.b64encode(PLACE.associated_data("key", "far")).decode()
    answer = vault.write("keys/transit/encrypt/automate", {"plaintext": plain, "associated_data": bound})
    with pytest.raises(SecretDecryptionError):
        transit.unwrap(answer["ciphertext"].encode(), PLACE)


def test_transit_reads_what_older_versions_of_its_key_wrapped(vault: VaultServer, transit: TransitKey) -> None:
    wrapped = transit.wrap(DATA_KEY, PLACE)
    vault.write("keys/transit/keys/automate/rotate", {})
    assert transit.wrap(DATA_KEY, PLACE).startswith(b"vault:v2:")
    assert transit.unwrap(wrapped, PLACE) == DATA_KEY


def test_transit_says_what_is_wrong(vault: VaultServer, monkeypatch: pytest.MonkeyPatch, transit: TransitKey) -> None:
    wrapped = transit.wrap(DATA_KEY, PLACE)
    settings = VaultSettings(address=vault.url, token="$env:TEST_VAULT_TOKEN")
    with pytest.raises(SecretBackendUnavailable, match="keys/transit/keys/missing"):
        TransitKey("far", "keys/transit/missing", settings).unwrap(wrapped, PLACE)
    vault.policy("encrypts", {"keys/transit/encrypt/automate": ["update"]})
    token = vault.write("auth/token/create", {"policies": ["encrypts"]})["client_token"]
    monkeypatch.setenv("TEST_VAULT_TOKEN", token)
    with pytest.raises(SecretAccessDenied, match="keys/transit/decrypt/automate"):
        TransitKey("far", "keys/transit/automate", settings).unwrap(wrapped, PLACE)
    vault.seal()
    with pytest.raises(SecretBackendUnavailable, match="sealed") as raised:
        transit.unwrap(wrapped, PLACE)
    assert raised.value.retryable
    for path in ("", "keys/", "/key", "a b", "keys/../key", "key?x=y"):
        with pytest.raises(ConfigurationError, match="vault-transit:mount/key"):
            TransitKey("far", path, settings)


# -- what is kept -----------------------------------------------------------------------------------------------------


class Counting:
    """A key that counts what it is asked, and answers when it may."""

    key_id, kind = "far", "K"

    def __init__(self) -> None:
        self.asked = 0
        self.failing = False
        self.may_answer = threading.Event()
        self.may_answer.set()

    def wrap(self, data_key: bytes, binding: Binding) -> bytes:
        return data_key

    def unwrap(self, wrapped: bytes, binding: Binding) -> bytes:
        self.asked += 1
        assert self.may_answer.wait(60)
        if self.failing:
            raise SecretBackendUnavailable("down")
        return wrapped


def test_a_data_key_is_kept_for_its_place_and_its_time_alone() -> None:
    key, now = Counting(), [0.0]
    kept = Unwrapped(key, seconds=300, clock=lambda: now[0])
    for _ in range(3):
        assert kept.unwrap(DATA_KEY, PLACE) == DATA_KEY
    assert key.asked == 1
    for other in OTHER_PLACES:
        kept.unwrap(DATA_KEY, other)
    kept.unwrap(DATA_KEY[::-1], PLACE)
    assert key.asked == 7
    now[0] = 299.9
    kept.unwrap(DATA_KEY, PLACE)
    assert key.asked == 7
    now[0] = 300.0
    kept.unwrap(DATA_KEY, PLACE)
    assert key.asked == 8
    assert DATA_KEY.hex() not in f"{kept!r} {redaction.redact({'key': kept})}"
    with pytest.raises(TypeError, match="not pickled"):
        kept.__reduce__()


def test_no_more_data_keys_are_kept_than_allowed() -> None:
    key = Counting()
    kept = Unwrapped(key, entries=2)
    for number in (0, 1, 0, 2, 0, 1):
        kept.unwrap(bytes([number] * 32), PLACE)
    assert key.asked == 4  # of 0, 1, 2, and 1 again, which was used longest ago when 2 came


def test_failures_are_not_kept() -> None:
    key = Counting()
    kept, key.failing = Unwrapped(key), True
    with pytest.raises(SecretBackendUnavailable):
        kept.unwrap(DATA_KEY, PLACE)
    key.failing = False
    assert kept.unwrap(DATA_KEY, PLACE) == DATA_KEY


def test_many_that_ask_at_once_are_one_call() -> None:
    key = Counting()
    kept = Unwrapped(key)
    key.may_answer.clear()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(kept.unwrap, DATA_KEY, PLACE) for _ in range(8)]
        key.may_answer.set()
        assert [answer.result() for answer in answers] == [DATA_KEY] * 8
    assert key.asked == 1
