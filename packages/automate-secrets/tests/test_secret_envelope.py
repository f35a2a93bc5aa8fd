"""Encrypted values: they come back in their place, and nowhere else, and not with one bit changed."""

from __future__ import annotations

import base64
import pickle
import re

import pytest
from automate_core import redaction
from automate_core.errors import ConfigurationError, SecretDecryptionError, SecretError, SecretNotFoundError
from automate_core.settings import SecretSettings
from automate_secrets.envelope import Binding, KeyRing, decrypt, encrypt, key_id_of
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

unhurried = hypothesis_settings(deadline=None)

RING = KeyRing({"k1": bytes(range(32)), "k2": bytes(range(32, 64))}, "k1")
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
bindings = st.builds(Binding, tenant=names, name=names, version=st.integers(1, 10**9), field=names)
values = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@unhurried
@given(values, bindings)
def test_a_value_comes_back_and_is_not_seen_in_its_envelope(value: str, binding: Binding) -> None:
    envelope = encrypt(value, binding, RING)
    assert decrypt(envelope, binding, RING) == value
    assert len(value.encode()) < 6 or value.encode() not in envelope
    assert encrypt(value, binding, RING) != envelope
    assert key_id_of(envelope) == "k1"


@unhurried
@given(values, bindings, st.data())
def test_one_changed_bit_anywhere_is_refused(value: str, binding: Binding, data: st.DataObject) -> None:
    envelope = bytearray(encrypt(value, binding, RING))
    envelope[data.draw(st.integers(0, len(envelope) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SecretDecryptionError):
        decrypt(bytes(envelope), binding, RING)


def test_a_key_ring_shows_its_keys_to_nobody() -> None:
    assert redaction.redact({"ring": RING}) == {"ring": {"keys": ["k1", "k2"], "active": "k1"}}
    assert "\\x01" not in repr(RING)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(RING)


def test_every_changed_byte_is_refused() -> None:
    binding = Binding("acme", "API_KEY", 3)
    envelope = encrypt("a secret", binding, RING)
    for position in range(len(envelope)):
        changed = bytearray(envelope)
        changed[position] ^= 0xFF
        with pytest.raises(SecretDecryptionError):
            decrypt(bytes(changed), binding, RING)
        with pytest.raises(SecretDecryptionError):
            decrypt(envelope[:position], binding, RING)
    with pytest.raises(SecretDecryptionError):
        decrypt(envelope + b"\0", binding, RING)


@unhurried
@given(values, bindings, bindings)
def test_an_envelope_of_another_place_is_refused(value: str, here: Binding, there: Binding) -> None:
    assume(here != there)
    with pytest.raises(SecretDecryptionError, match="changed or moved"):
        decrypt(encrypt(value, here, RING), there, RING)


def test_parts_of_a_place_do_not_run_into_each_other() -> None:
    envelope = encrypt("a secret", Binding("a", "bc", 1), RING)
    with pytest.raises(SecretDecryptionError):
        decrypt(envelope, Binding("ab", "c", 1), RING)


def test_halves_of_two_envelopes_do_not_fit() -> None:
    binding = Binding("", "API_KEY", 1)
    first, second = encrypt("first", binding, RING), encrypt("second", binding, RING)
    cut = 3 + 1 + 2 + 60
    with pytest.raises(SecretDecryptionError):
        decrypt(first[:cut] + second[cut:], binding, RING)


def test_another_key_under_the_same_id_is_refused() -> None:
    binding = Binding("", "API_KEY", 1)
    envelope = encrypt("a secret", binding, RING)
    with pytest.raises(SecretDecryptionError, match="'k1'"):
        decrypt(envelope, binding, KeyRing({"k1": bytes(32)}, "k1"))
    with pytest.raises(SecretDecryptionError, match=r"SECRETS\.keys does not hold.*'k2'"):
        decrypt(envelope, binding, KeyRing({"k2": bytes(32)}, "k2"))


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(SecretError, match="surrogates"):
        encrypt("\ud800", Binding("", "API_KEY", 1), RING)


def test_the_newest_key_encrypts_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (base64.b64encode(bytes([fill] * 32)).decode() for fill in (1, 2))
    monkeypatch.setenv("TEST_KEK", second)
    keys = {"old": first, "new": "$env:TEST_KEK"}
    ring = KeyRing.from_settings(SecretSettings(keys=keys))
    assert (ring.active, ring.keys["new"]) == ("new", bytes([2] * 32))
    assert KeyRing.from_settings(SecretSettings(keys=keys, active_key="old")).active == "old"
    assert "\\x02" not in repr(ring)
    assert redaction.redact_text(f"{first} {second}") == "[REDACTED] [REDACTED]"
    for key in (first, second):
        redaction.forget(key)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("not base64 at all!", "not base64"),
        (base64.b64encode(b"short key material").decode(), "18 bytes, not 32"),
        ("$vault:kv/kek", "only $env: references"),
    ],
)
def test_a_wrong_key_is_refused_without_being_shown(key: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)) as raised:
        KeyRing.from_settings(SecretSettings(keys={"k1": key}))
    assert "SECRETS.keys['k1']" in str(raised.value)
    assert key not in str(raised.value)
    redaction.forget(key)


def test_keys_that_are_missing_say_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"os\.urandom\(32\)"):
        KeyRing.from_settings(SecretSettings())
    monkeypatch.delenv("TEST_KEK", raising=False)
    with pytest.raises(SecretNotFoundError, match="TEST_KEK is not set"):
        KeyRing.from_settings(SecretSettings(keys={"k1": "$env:TEST_KEK"}))
