"""Key-encryption keys: where they are read from, and which are refused."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from automate_core import redaction
from automate_core.errors import ConfigurationError
from automate_core.settings import SecretSettings
from automate_secrets.db import DbBackend
from automate_secrets.envelope import decrypt, encrypt
from automate_secrets.keys import Binding, KeyRing
from automate_secrets.keys._local import LocalKey
from django.test import override_settings

PLACE = Binding("acme", "API_KEY", 1)


def text(fill: int) -> str:
    return base64.b64encode(bytes([fill] * 32)).decode()


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    for fill in range(1, 4):
        redaction.forget(text(fill))


def holds(ring: KeyRing, key_id: str, fill: int) -> bool:
    """Whether a ring has this very key: what one encrypts, the other decrypts."""
    own = KeyRing({key_id: LocalKey(key_id, bytes([fill] * 32))}, key_id)
    return decrypt(encrypt("a secret", PLACE, own), PLACE, ring) == "a secret"


def refused(key: str, key_id: str = "k1") -> str:
    with pytest.raises(ConfigurationError) as raised:
        KeyRing.from_settings(SecretSettings(keys={key_id: key}))
    assert f"SECRETS.keys[{key_id!r}]" in str(raised.value)
    return str(raised.value)


def test_the_last_key_encrypts_unless_one_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEST_KEK", text(2))
    path = tmp_path / "kek"
    path.touch(0o600)
    path.write_text(text(3) + "\n")
    keys = {"old": text(1), "new": "$env:TEST_KEK", "mounted": f"file:{path}"}
    ring = KeyRing.from_settings(SecretSettings(keys=keys))
    assert ring.active == "mounted"
    assert KeyRing.from_settings(SecretSettings(keys=keys, active_key="old")).active == "old"
    assert all(holds(ring, key_id, fill) for key_id, fill in (("old", 1), ("new", 2), ("mounted", 3)))
    shown = redaction.redact_text(f"{text(1)} {text(2)} {text(3)} {path}")
    assert shown == f"[REDACTED] [REDACTED] [REDACTED] {path}"


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("not base64 at all!", "not base64"),
        (base64.b64encode(b"short key material").decode(), "18 bytes, not 32"),
        ("$vault:kv/kek", "only $env: references"),
        ("vaulttransit:transit/automate", "not base64"),
    ],
)
def test_a_wrong_key_is_refused_without_being_shown(key: str, says: str) -> None:
    message = refused(key)
    assert says in message
    assert key not in message
    redaction.forget(key)


def test_keys_that_are_missing_say_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"os\.urandom\(32\)") as raised:
        KeyRing.from_settings(SecretSettings())
    assert 'SECRETS.keys is {"k1": "$env:AUTOMATE_KEK_1"}' in str(raised.value)  # the redactor has left it in
    monkeypatch.delenv("TEST_KEK", raising=False)
    assert "TEST_KEK is not set" in refused("$env:TEST_KEK")


@pytest.mark.parametrize("key_id", ["", "-k", "k 1", "k" * 65, "k\n"])
def test_an_id_that_no_header_can_hold_is_refused(key_id: str) -> None:
    assert "a key id is" in refused(text(1), key_id)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="the bits of a mode mean nothing here")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o602, 0o610, 0o601])
def test_a_file_that_others_have_access_to_is_refused(
    tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned_by(1000, monkeypatch)
    path = tmp_path / "kek"
    path.write_text(text(1))
    path.chmod(mode)
    message = refused(f"file:{path}")
    assert f"has the mode 0{mode:o}" in message
    assert f"chmod 600 {path}" in message
    assert text(1) not in message
    link = tmp_path / "link"
    link.symlink_to(path)
    assert f"has the mode 0{mode:o}" in refused(f"file:{link}")
    path.chmod(0o400)
    assert holds(KeyRing.from_settings(SecretSettings(keys={"k1": f"file:{link}"})), "k1", 1)


@pytest.mark.skipif(os.name != "posix", reason="the bits of a mode mean nothing here")
@pytest.mark.parametrize(
    ("mode", "read"),
    [(0o440, True), (0o640, True), (0o400, True), (0o444, False), (0o644, False), (0o460, False), (0o450, False)],
)
def test_the_group_may_read_what_root_has_mounted(
    tmp_path: Path, mode: int, read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes makes 0440 of 0400 where there is an fsGroup; Docker's 0444 lets every user of the container read."""
    path = tmp_path / "kek"
    path.write_text(text(1))
    path.chmod(mode)
    owned_by(0, monkeypatch)
    if read:
        assert holds(KeyRing.from_settings(SecretSettings(keys={"k1": f"file:{path}"})), "k1", 1)
    else:
        message = refused(f"file:{path}")
        assert "in Docker Swarm: the uid of the process and mode: 0400" in message


def owned_by(user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let open files belong to somebody."""
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[stat.ST_UID] = user
        return os.stat_result(found)

    monkeypatch.setattr("automate_secrets._files.os.fstat", fstat)


def test_what_is_no_file_with_a_key_is_refused(tmp_path: Path) -> None:
    assert "cannot be read (FileNotFoundError)" in refused(f"file:{tmp_path / 'missing'}")
    assert "not an absolute path" in refused("file:kek")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert "is not a file" in refused(f"file:{pipe}")
    folder = tmp_path / "folder"
    folder.mkdir(0o700)
    assert "is not a file" in refused(f"file:{folder}")
    path = tmp_path / "kek"
    path.touch(0o600)
    path.write_bytes(b"\xff" * 32)  # the key itself, not its text
    assert "is no text. A key is written down in base64" in refused(f"file:{path}")
    path.write_bytes(text(1).encode() * 1000)
    assert "not base64" in refused(f"file:{path}")


# -- Django's SECRET_KEY ----------------------------------------------------------------------------------------------

OF_DJANGO = "django-insecure-+41(0x=pz8v@2k^w7y!c5u$9_r3t6e#m1q&h0n"
IN_BASE64 = base64.b64encode(bytes(range(200, 232))).decode()


@pytest.mark.parametrize(
    ("of_django", "key"),
    [
        (OF_DJANGO, OF_DJANGO),
        (IN_BASE64, IN_BASE64),
        (IN_BASE64, f" {IN_BASE64}\n"),
        (OF_DJANGO, base64.b64encode(OF_DJANGO.encode()[:32]).decode()),
        (OF_DJANGO, base64.b64encode(hashlib.sha256(OF_DJANGO.encode()).digest()).decode()),
        (OF_DJANGO, base64.urlsafe_b64encode(hashlib.sha256(OF_DJANGO.encode()).digest()).decode()),
    ],
    ids=["itself", "itself in base64", "with white space", "its beginning", "its digest", "its digest, for URLs"],
)
@pytest.mark.parametrize("where", ["settings", "environment", "file", "fallback"])
def test_the_secret_key_of_django_is_refused(
    of_django: str, key: str, where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEST_KEK", key)
    path = tmp_path / "kek"
    path.touch(0o600)
    path.write_text(key)
    given = {"environment": "$env:TEST_KEK", "file": f"file:{path}"}.get(where, key)
    of_project = {"SECRET_KEY": "another", "SECRET_KEY_FALLBACKS": ["older", of_django]}
    backend = DbBackend(SecretSettings(keys={"k1": given}))
    with override_settings(**(of_project if where == "fallback" else {"SECRET_KEY": of_django})):
        with pytest.raises(ConfigurationError, match=re.escape("SECRETS.keys['k1']: this is Django's SECRET_KEY")) as e:
            _ = backend.ring
        assert key.strip() not in str(e.value)
        assert "SECRET_KEY" in backend.check()[0]
    redaction.forget(key.strip())
    redaction.forget(key)
