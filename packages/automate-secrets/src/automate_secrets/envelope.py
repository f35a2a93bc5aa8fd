"""Envelope encryption: bytes in, bytes out.

Each value is encrypted by a data key of its own (AES-256-GCM, random nonce), and the data key by a key-encryption key
of the key ring. The associated data binds both to where the value belongs, so that no row can stand in for another.
Format 2::

    "AS" 02 | kind of key | length of key id | key id | length of wrapped data key (2 bytes) | wrapped data key
            | nonce (12 bytes), ciphertext

The key id is bound to the wrapped data key, not to the value: giving the data key to another key-encryption key leaves
the ciphertext of the value as it is. Format 1, which is still read, has neither the kind nor the second length: its
data keys were wrapped by keys that the process holds, into 60 bytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from automate_core.errors import SecretDecryptionError, SecretError

from automate_secrets.keys._encryption import DATA_KEY_BYTES, Binding, KeyEncryption, refusal
from automate_secrets.keys._local import LocalKey, aes_gcm
from automate_secrets.keys._ring import KEY_ID, KeyRing

__all__ = ["decrypt", "encrypt", "key_id_of", "rewrap"]

_MAGIC = b"AS"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_WRAPPED_BYTES_1 = 60


@dataclass(frozen=True, slots=True)
class _Envelope:
    kind: str
    key_id: str
    wrapped: bytes
    nonce: bytes
    sealed: bytes

    def __bytes__(self) -> bytes:
        key_id = self.key_id.encode()
        header = (_MAGIC, b"\x02", self.kind.encode(), bytes([len(key_id)]), key_id)
        return b"".join((*header, len(self.wrapped).to_bytes(2, "big"), self.wrapped, self.nonce, self.sealed))


def encrypt(value: str, binding: Binding, ring: KeyRing) -> bytes:
    """Encrypt a value for one place.

    Args:
        value: The value.
        binding: The place.
        ring: The keys; the active one is used.

    Returns:
        The envelope.

    Raises:
        SecretError: If the value cannot be written as UTF-8.
        SecretBackendUnavailable: If the service that holds the active key cannot be asked, or refuses.
    """
    try:
        plain = value.encode()
    except UnicodeEncodeError:
        raise SecretError("The secret holds lone surrogates, which no text encoding can store.") from None
    data_key, nonce = os.urandom(DATA_KEY_BYTES), os.urandom(_NONCE_BYTES)
    key = ring.find(ring.active)
    sealed = aes_gcm(data_key).encrypt(nonce, plain, binding.associated_data("value"))
    return bytes(_Envelope(key.kind, key.key_id, key.wrap(data_key, binding), nonce, sealed))


def decrypt(envelope: bytes, binding: Binding, ring: KeyRing) -> str:
    """Decrypt a value in its place.

    Args:
        envelope: What :func:`encrypt` returned.
        binding: The place where it was found.
        ring: The keys.

    Returns:
        The value.

    Raises:
        SecretDecryptionError: If one bit of it was changed, it belongs elsewhere, or its key is not on the ring. Never
            anything but the value itself is returned.
        SecretBackendUnavailable: If the service that holds its key cannot be asked, or refuses.
    """
    from cryptography.exceptions import InvalidTag

    parts = _parse(envelope)
    data_key = _unwrap(parts, binding, ring)
    try:
        plain = aes_gcm(data_key).decrypt(parts.nonce, parts.sealed, binding.associated_data("value"))
    except InvalidTag:
        raise refusal(binding, parts.key_id) from None
    return plain.decode()


def rewrap(envelope: bytes, binding: Binding, ring: KeyRing) -> bytes:
    """Give the data key of an envelope to the active key; the ciphertext of the value stays as it is.

    Args:
        envelope: What :func:`encrypt` returned.
        binding: The place where it was found.
        ring: The keys.

    Returns:
        The new envelope.

    Raises:
        SecretDecryptionError: If its data key cannot be decrypted.
        SecretBackendUnavailable: If a service that holds one of the keys cannot be asked, or refuses.
    """
    parts = _parse(envelope)
    data_key = _unwrap(parts, binding, ring)
    key = ring.find(ring.active)
    return bytes(_Envelope(key.kind, key.key_id, key.wrap(data_key, binding), parts.nonce, parts.sealed))


def key_id_of(envelope: bytes) -> str:
    """Return the id of the key that wraps an envelope's data key, without decrypting anything.

    Args:
        envelope: What :func:`encrypt` returned.

    Raises:
        SecretDecryptionError: If this is no envelope; a value in clear is refused here.
    """
    return _parse(envelope).key_id


def _unwrap(parts: _Envelope, binding: Binding, ring: KeyRing) -> bytes:
    key: KeyEncryption = ring.find(parts.key_id)
    if key.kind != parts.kind:
        raise SecretDecryptionError(
            f"The secret {binding.name!r} (version {binding.version}) says that the key {parts.key_id!r} is held "
            "elsewhere than SECRETS.keys says: the row was changed, or the id was given to another key.",
            context={"name": binding.name, "version": binding.version, "key_id": parts.key_id},
        )
    data_key = key.unwrap(parts.wrapped, binding)
    if len(data_key) != DATA_KEY_BYTES:
        raise refusal(binding, parts.key_id)
    return data_key


def _parse(envelope: bytes) -> _Envelope:
    magic, form = envelope[:2], envelope[2:3]
    if magic != _MAGIC or form not in (b"\x01", b"\x02"):
        raise SecretDecryptionError("This is not an encrypted secret of format 1 or 2.")
    kind, rest = (LocalKey.kind, envelope[3:]) if form == b"\x01" else (_letter(envelope[3:4]), envelope[4:])
    size = rest[0] if rest else 0
    key_id, rest = rest[1 : 1 + size].decode("ascii", "replace"), rest[1 + size :]
    if not KEY_ID.fullmatch(key_id):
        raise SecretDecryptionError("The header of the encrypted secret was changed: its key id has no valid form.")
    size = _WRAPPED_BYTES_1
    if form == b"\x02":
        size, rest = int.from_bytes(rest[:2], "big"), rest[2:]
    if len(rest) < size + _NONCE_BYTES + _TAG_BYTES:
        raise SecretDecryptionError("The encrypted secret is cut short.")
    wrapped, nonce, sealed = rest[:size], rest[size : size + _NONCE_BYTES], rest[size + _NONCE_BYTES :]
    return _Envelope(kind, key_id, wrapped, nonce, sealed)


def _letter(kind: bytes) -> str:
    return kind.decode("ascii", "replace")
