"""Keys that this process holds: written in the settings, in an environment variable or in a file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar, NoReturn

from automate_core.errors import ConfigurationError
from automate_core.redaction import remember

from automate_secrets.keys._encryption import DATA_KEY_BYTES, Binding, refusal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["GENERATE_KEY", "LocalKey", "aes_gcm", "keys_of_django", "read_key"]

GENERATE_KEY = 'python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
"""A command that prints a new key-encryption key."""

_NONCE_BYTES = 12


class LocalKey:
    """A key of 32 bytes in the memory of this process; it wraps with AES-256-GCM and a random nonce.

    Args:
        key_id: Its id.
        key: The key.
    """

    kind: ClassVar[str] = "L"

    def __init__(self, key_id: str, key: bytes) -> None:
        self.key_id = key_id
        self._key = key

    def wrap(self, data_key: bytes, binding: Binding) -> bytes:
        """Encrypt a data key for one place.

        Args:
            data_key: The data key.
            binding: The place.

        Returns:
            Nonce and ciphertext, 60 bytes.
        """
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + aes_gcm(self._key).encrypt(nonce, data_key, binding.associated_data("key", self.key_id))

    def unwrap(self, wrapped: bytes, binding: Binding) -> bytes:
        """Decrypt a data key in its place.

        Args:
            wrapped: What :meth:`wrap` returned.
            binding: The place.

        Returns:
            The data key.

        Raises:
            SecretDecryptionError: If it was changed, belongs elsewhere, or another key wrapped it.
        """
        from cryptography.exceptions import InvalidTag

        nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        if len(nonce) != _NONCE_BYTES:
            raise refusal(binding, self.key_id)
        try:
            return aes_gcm(self._key).decrypt(nonce, sealed, binding.associated_data("key", self.key_id))
        except InvalidTag:
            raise refusal(binding, self.key_id) from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key_id!r})"

    def __redacted__(self) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


def aes_gcm(key: bytes) -> AESGCM:
    """Return the cipher of a key.

    Args:
        key: 32 bytes.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def read_key(where: str, text: str, refused: Collection[str] = ()) -> bytes:
    """Read a key from its text.

    Args:
        where: Where the text comes from, for messages; they never show it.
        text: 32 bytes in base64, of either alphabet.
        refused: Texts that must not be a key, nor be what it is made of: Django's ``SECRET_KEY``.

    Returns:
        The key.

    Raises:
        ConfigurationError: If it has another form, or is one of those texts.
    """
    text = text.strip()
    remember(text)
    for other in refused:
        if text == other.strip():
            raise _is_secret_key(where)
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(f"{where}: this is not base64. Make a key with {GENERATE_KEY}") from None
    if len(key) != DATA_KEY_BYTES:
        raise ConfigurationError(f"{where}: this is {len(key)} bytes, not 32. Make a key with {GENERATE_KEY}")
    if any(key in _made_of(other) for other in refused):
        raise _is_secret_key(where)
    return key


def keys_of_django() -> list[str]:
    """Return what must not be a key: ``SECRET_KEY`` is changed for other reasons, and known to other parts."""
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    try:
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    except ImproperlyConfigured:  # the project has none
        return []
    return [key.decode(errors="replace") if isinstance(key, bytes) else key for key in keys]


def _made_of(text: str) -> tuple[bytes, ...]:
    """Return the keys that people make of a text: its beginning, and its digest."""
    raw = text.encode(errors="surrogatepass")
    return raw[:DATA_KEY_BYTES], hashlib.sha256(raw).digest()


def _is_secret_key(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where}: this is Django's SECRET_KEY, or made of it. That key is changed for other reasons and known to "
        f"other parts of the project, so it is no key here. Make one with {GENERATE_KEY}"
    )
