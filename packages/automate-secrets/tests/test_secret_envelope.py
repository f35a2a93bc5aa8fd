"""Encrypted values: they come back in their place, and nowhere else, and not with one bit changed."""

from __future__ import annotations

import os
import pickle

import pytest
from automate_core import redaction
from automate_core.errors import SecretDecryptionError, SecretError
from automate_secrets.envelope import decrypt, encrypt, key_id_of, rewrap
from automate_secrets.keys import Binding, KeyRing
from automate_secrets.keys._local import LocalKey, aes_gcm
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

unhurried = hypothesis_settings(deadline=None)

FIRST, SECOND = bytes(range(32)), bytes(range(32, 64))


def ring(active: str, **keys: bytes) -> KeyRing:
    return KeyRing({key_id: LocalKey(key_id, key) for key_id, key in keys.items()}, active)


RING = ring("k1", k1=FIRST, k2=SECOND)
NEXT = ring("k2", k1=FIRST, k2=SECOND)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
bindings = st.builds(Binding, tenant=names, name=names, version=st.integers(1, 10**9), field=names)
values = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


class Scrambler:
    """A key that is held elsewhere, whose wrapped data keys have a length of their own."""

    kind = "K"

    def __init__(self, key_id: str, size: int) -> None:
        self.key_id = key_id
        self._local, self._padding = LocalKey(key_id, SECOND), bytes(size)

    def wrap(self, data_key: bytes, binding: Binding) -> bytes:
        return self._padding + self._local.wrap(data_key, binding)

    def unwrap(self, wrapped: bytes, binding: Binding) -> bytes:
        if not wrapped.startswith(self._padding):
            raise SecretDecryptionError("changed")
        return self._local.unwrap(wrapped[len(self._padding) :], binding)


def in_format_1(value: str, binding: Binding) -> bytes:
    """Encrypt under ``k1`` as release 0.1.0 did."""
    data_key, key_nonce, nonce = os.urandom(32), os.urandom(12), os.urandom(12)
    parts = [b"key", binding.tenant.encode(), binding.name.encode(), str(binding.version).encode()]
    parts += [binding.field.encode(), b"k1"]

    def associated(*parts: bytes) -> bytes:
        return b"AS\x01" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    wrapped = aes_gcm(FIRST).encrypt(key_nonce, data_key, associated(*parts))
    sealed = aes_gcm(data_key).encrypt(nonce, value.encode(), associated(b"value", *parts[1:-1], b""))
    return b"AS\x01\x02k1" + key_nonce + wrapped + nonce + sealed


@unhurried
@given(values, bindings)
def test_a_value_comes_back_and_is_not_seen_in_its_envelope(value: str, binding: Binding) -> None:
    envelope = encrypt(value, binding, RING)
    assert decrypt(envelope, binding, RING) == value
    assert len(value.encode()) < 6 or value.encode() not in envelope
    assert encrypt(value, binding, RING) != envelope
    assert key_id_of(envelope) == "k1"


@unhurried
@given(values, bindings, st.integers(0, 400))
def test_a_key_that_is_held_elsewhere_wraps_into_any_length(value: str, binding: Binding, size: int) -> None:
    elsewhere = KeyRing({"k1": LocalKey("k1", FIRST), "far": Scrambler("far", size)}, "far")
    envelope = encrypt(value, binding, elsewhere)
    assert decrypt(envelope, binding, elsewhere) == value
    assert decrypt(rewrap(encrypt(value, binding, RING), binding, elsewhere), binding, elsewhere) == value


@unhurried
@given(values, bindings)
def test_what_release_0_1_0_encrypted_is_read_and_rewrapped(value: str, binding: Binding) -> None:
    envelope = in_format_1(value, binding)
    assert decrypt(envelope, binding, RING) == value
    assert decrypt(rewrap(envelope, binding, NEXT), binding, ring("k2", k2=SECOND)) == value


@unhurried
@given(values, bindings)
def test_rewrapping_leaves_the_ciphertext_of_the_value_as_it_is(value: str, binding: Binding) -> None:
    envelope = encrypt(value, binding, RING)
    renewed = rewrap(envelope, binding, NEXT)
    assert key_id_of(renewed) == "k2"
    sealed = 12 + len(value.encode()) + 16
    assert renewed[-sealed:] == envelope[-sealed:]
    assert renewed[:-sealed] != envelope[:-sealed]
    assert decrypt(renewed, binding, ring("k2", k2=SECOND)) == value
    with pytest.raises(SecretDecryptionError, match="'k2'"):
        decrypt(renewed, binding, ring("k1", k1=FIRST))


@unhurried
@given(values, bindings, st.data())
def test_one_changed_bit_anywhere_is_refused(value: str, binding: Binding, data: st.DataObject) -> None:
    envelope = bytearray(encrypt(value, binding, RING))
    envelope[data.draw(st.integers(0, len(envelope) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SecretDecryptionError):
        decrypt(bytes(envelope), binding, RING)
    with pytest.raises(SecretDecryptionError):
        decrypt(rewrap(bytes(envelope), binding, NEXT), binding, NEXT)


@pytest.mark.parametrize("written", ["format 1", "format 2", "elsewhere"])
def test_every_value_of_every_byte_is_refused(written: str) -> None:
    """Magic, format, kind, lengths, key id, nonces, wrapped data key, ciphertext: 255 changes of each byte."""
    binding = Binding("acme", "API_KEY", 3)
    keys = KeyRing({"k1": LocalKey("k1", FIRST), "k2": LocalKey("k2", SECOND), "far": Scrambler("far", 9)}, "far")
    envelope = {
        "format 1": lambda: in_format_1("a secret", binding),
        "format 2": lambda: encrypt("a secret", binding, RING),
        "elsewhere": lambda: encrypt("a secret", binding, keys),
    }[written]()
    assert decrypt(envelope, binding, keys) == "a secret"
    for position in range(len(envelope)):
        for change in range(1, 256):
            changed = bytearray(envelope)
            changed[position] ^= change
            with pytest.raises(SecretDecryptionError):
                decrypt(bytes(changed), binding, keys)
        with pytest.raises(SecretDecryptionError):
            decrypt(envelope[:position], binding, keys)
        with pytest.raises(SecretDecryptionError):
            decrypt(envelope[:position] + b"\0" + envelope[position:], binding, keys)
    for extended in (envelope + b"\0", envelope + envelope, b"\0" + envelope):
        with pytest.raises(SecretDecryptionError):
            decrypt(extended, binding, keys)


@given(st.binary(max_size=300))
def test_anything_else_is_refused(envelope: bytes) -> None:
    for start in (b"", b"AS\x01", b"AS\x02L\x02k1"):
        with pytest.raises(SecretDecryptionError):
            decrypt(start + envelope, Binding("", "API_KEY", 1), RING)


@unhurried
@given(values, bindings, bindings)
def test_an_envelope_of_another_place_is_refused(value: str, here: Binding, there: Binding) -> None:
    assume(here != there)
    envelope = encrypt(value, here, RING)
    with pytest.raises(SecretDecryptionError, match="changed or moved"):
        decrypt(envelope, there, RING)
    with pytest.raises(SecretDecryptionError, match="changed or moved"):
        rewrap(envelope, there, NEXT)


@pytest.mark.parametrize(
    "there",
    [
        Binding("ACME", "API_KEY", 3),
        Binding("", "API_KEY", 3),
        Binding("acme", "OTHER", 3),
        Binding("acme", "API_KEY", 4),
        Binding("acme", "API_KEY", 3, "password"),
        Binding("acmeA", "PI_KEY", 3),
    ],
    ids=["tenant", "no tenant", "name", "version", "field", "parts that run into each other"],
)
def test_each_part_of_a_place_is_bound(there: Binding) -> None:
    envelope = encrypt("a secret", Binding("acme", "API_KEY", 3), RING)
    with pytest.raises(SecretDecryptionError, match="changed or moved"):
        decrypt(envelope, there, RING)


def test_halves_of_two_envelopes_do_not_fit() -> None:
    binding = Binding("", "API_KEY", 1)
    first, second = encrypt("first", binding, RING), encrypt("second", binding, RING)
    cut = len(first) - 12 - len("first") - 16
    with pytest.raises(SecretDecryptionError):
        decrypt(first[:cut] + second[cut:], binding, RING)


def test_another_key_under_the_same_id_is_refused() -> None:
    binding = Binding("", "API_KEY", 1)
    envelope = encrypt("a secret", binding, RING)
    with pytest.raises(SecretDecryptionError, match="'k1'"):
        decrypt(envelope, binding, ring("k1", k1=bytes(32)))
    with pytest.raises(SecretDecryptionError, match=r"SECRETS\.keys does not hold.*'k2'"):
        decrypt(envelope, binding, ring("k2", k2=bytes(32)))


def test_an_id_that_was_given_to_a_key_held_elsewhere_is_refused() -> None:
    envelope = encrypt("a secret", Binding("", "API_KEY", 1), RING)
    with pytest.raises(SecretDecryptionError, match="held elsewhere"):
        decrypt(envelope, Binding("", "API_KEY", 1), KeyRing({"k1": Scrambler("k1", 0)}, "k1"))


def test_a_key_ring_shows_its_keys_to_nobody() -> None:
    assert redaction.redact({"ring": RING}) == {"ring": {"keys": ["k1", "k2"], "active": "k1"}}
    assert "\\x01" not in f"{RING!r} {RING.keys['k1']!r} {redaction.redact({'one': RING.keys['k1']})}"
    for unpicklable in (RING, RING.keys["k1"]):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(unpicklable)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(SecretError, match="surrogates"):
        encrypt("\ud800", Binding("", "API_KEY", 1), RING)
