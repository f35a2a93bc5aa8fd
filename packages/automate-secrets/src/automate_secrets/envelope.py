"""Envelope encryption: bytes in, bytes out.

Each value is encrypted by a data key of its own (AES-256-GCM, random nonce), and the data key by a key-encryption key
of the key ring. The associated data binds both to where the value belongs, so that no row can stand in for another.
Format 1::

    "AS" 01 | length of key id | key id | nonce, wrapped data key (60 bytes) | nonce, ciphertext

The key id is bound to the wrapped data key, not to the value: giving the data key to another key-encryption key leaves
the ciphertext of the value as it is.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from automate_core.errors import ConfigurationError, SecretDecryptionError, SecretError, nearby
from automate_core.redaction import remember
from automate_core.secrets import SecretRef, is_reference
from automate_core.settings import SecretSettings

from automate_secrets.env import EnvBackend

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["GENERATE_KEY", "Binding", "KeyRing", "decrypt", "encrypt", "key_id_of"]

GENERATE_KEY = 'python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
"""A command that prints a new key-encryption key."""

_MAGIC = b"AS\x01"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_WRAPPED_BYTES = _NONCE_BYTES + _KEY_BYTES + _TAG_BYTES
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")


@dataclass(frozen=True, slots=True)
class Binding:
    """Where an encrypted value belongs; in another place it cannot be decrypted.

    Args:
        tenant: Whose it is; empty is the installation's own.
        name: The name of the secret.
        version: Its version.
        field: Which of its values.
    """

    tenant: str
    name: str
    version: int
    field: str = "value"

    def associated_data(self, purpose: str, key_id: str = "") -> bytes:
        """Encode it without ambiguity: each part behind its length.

        Args:
            purpose: What is encrypted: ``key`` or ``value``.
            key_id: Whose key encrypts it, where that is bound too.
        """
        parts = (purpose, self.tenant, self.name, str(self.version), self.field, key_id)
        encoded = [part.encode() for part in parts]
        return _MAGIC + b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Key-encryption keys by their ids.

    Args:
        keys: Each 32 bytes.
        active: The id of the one that encrypts.
    """

    keys: Mapping[str, bytes] = field(repr=False)
    active: str

    @classmethod
    def from_settings(cls, config: SecretSettings) -> KeyRing:
        """Read the keys of ``SECRETS.keys``.

        Args:
            config: The settings of secrets.

        Raises:
            ConfigurationError: If there is none, or one has another form; the message never shows a key.
            SecretNotFoundError: If the environment variable that one names is not set.
        """
        if not config.keys:
            raise ConfigurationError(
                "SECRETS.keys is empty, so no secret can be encrypted. Make a key with\n"
                f"  {GENERATE_KEY}\n"
                "put it into an environment variable such as AUTOMATE_KEK_1, and set "
                '"SECRETS": {"keys": {"k1": "$env:AUTOMATE_KEK_1"}}.'
            )
        keys = {key_id: _read_key(key_id, text) for key_id, text in config.keys.items()}
        return cls(keys, config.active_key or list(keys)[-1])

    def __redacted__(self) -> dict[str, object]:
        return {"keys": sorted(self.keys), "active": self.active}

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key ring is not pickled: the keys in it would be")

    def cipher(self, key_id: str) -> AESGCM:
        """Return the cipher of a key.

        Args:
            key_id: Its id.

        Raises:
            SecretDecryptionError: If it is not on the ring.
        """
        if key_id not in self.keys:
            raise SecretDecryptionError(
                f"The secret is encrypted with the key {key_id!r}, which SECRETS.keys does not hold."
                f"{nearby(key_id, self.keys)}",
                context={"key_id": key_id},
            )
        return _aes_gcm(self.keys[key_id])


def _read_key(key_id: str, text: str) -> bytes:
    where = f"SECRETS.keys[{key_id!r}]"
    if not _KEY_ID.fullmatch(key_id):
        raise ConfigurationError(f"{where}: a key id is up to 64 letters, digits, '_', '.' and '-'.")
    if is_reference(text):
        if not text.startswith("$env:"):
            raise ConfigurationError(f"{where}: only $env: references can name a key-encryption key.")
        text = EnvBackend(SecretSettings(prefix="")).get(SecretRef(text).path)
    remember(text)
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(f"{where}: this is not base64. Make a key with {GENERATE_KEY}") from None
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(f"{where}: this is {len(key)} bytes, not 32. Make a key with {GENERATE_KEY}")
    return key


def _aes_gcm(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


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
    """
    try:
        plain = value.encode()
    except UnicodeEncodeError:
        raise SecretError("The secret holds lone surrogates, which no text encoding can store.") from None
    data_key, key_nonce, nonce = (os.urandom(size) for size in (_KEY_BYTES, _NONCE_BYTES, _NONCE_BYTES))
    key_id = ring.active.encode()
    wrapped = ring.cipher(ring.active).encrypt(key_nonce, data_key, binding.associated_data("key", ring.active))
    sealed = _aes_gcm(data_key).encrypt(nonce, plain, binding.associated_data("value"))
    return b"".join((_MAGIC, bytes([len(key_id)]), key_id, key_nonce, wrapped, nonce, sealed))


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
    """
    from cryptography.exceptions import InvalidTag

    key_id, body = _split(envelope)
    wrapped, sealed = body[:_WRAPPED_BYTES], body[_WRAPPED_BYTES:]
    cipher = ring.cipher(key_id)
    try:
        data_key = cipher.decrypt(
            wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], binding.associated_data("key", key_id)
        )
        plain = _aes_gcm(data_key).decrypt(
            sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], binding.associated_data("value")
        )
    except InvalidTag:
        raise SecretDecryptionError(
            f"The secret {binding.name!r} (version {binding.version}) cannot be decrypted: the row was changed or "
            f"moved, or the key {key_id!r} is another one than that which encrypted it.",
            context={"name": binding.name, "version": binding.version, "key_id": key_id},
        ) from None
    return plain.decode()


def key_id_of(envelope: bytes) -> str:
    """Return the id of the key that wraps an envelope's data key, without decrypting anything.

    Args:
        envelope: What :func:`encrypt` returned.

    Raises:
        SecretDecryptionError: If this is no envelope; a value in clear is refused here.
    """
    return _split(envelope)[0]


def _split(envelope: bytes) -> tuple[str, bytes]:
    start = len(_MAGIC) + 1
    if envelope[: len(_MAGIC)] != _MAGIC or len(envelope) < start:
        raise SecretDecryptionError("This is not an encrypted secret of format 1.")
    end = start + envelope[start - 1]
    if len(envelope) < end + _WRAPPED_BYTES + _NONCE_BYTES + _TAG_BYTES:
        raise SecretDecryptionError("The encrypted secret is cut short.")
    key_id = envelope[start:end].decode("ascii", "replace")
    if not _KEY_ID.fullmatch(key_id):
        raise SecretDecryptionError("The header of the encrypted secret was changed: its key id has no valid form.")
    return key_id, envelope[end:]
