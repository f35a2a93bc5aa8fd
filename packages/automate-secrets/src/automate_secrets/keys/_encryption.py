"""What every key-encryption key does, and what its work is bound to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from automate_core.errors import SecretBackendUnavailable, SecretDecryptionError

__all__ = ["DATA_KEY_BYTES", "Binding", "KeyEncryption", "missing_extra", "refusal"]

DATA_KEY_BYTES = 32
"""Length of a data key: AES-256."""

_DOMAIN = b"AS\x01"
"""The beginning of associated data. It stays when headers change, for rewrapping leaves values as they are."""


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
        return _DOMAIN + b"".join(len(part).to_bytes(4, "big") + part for part in encoded)

    def context(self, key_id: str) -> dict[str, str]:
        """Return it as names and values, for services that bind and log those; what is empty is left out.

        Args:
            key_id: Whose key encrypts.
        """
        parts = {
            "tenant": self.tenant,
            "name": self.name,
            "version": str(self.version),
            "field": self.field,
            "key_id": key_id,
        }
        return {name: value for name, value in parts.items() if value}


class KeyEncryption(Protocol):
    """A key-encryption key. An instance is shared by threads."""

    @property
    def key_id(self) -> str:
        """Under which ``SECRETS.keys`` names it."""
        ...

    @property
    def kind(self) -> str:
        """The letter by which the header of an envelope says who wrapped its data key.

        ``L`` is a key that this process holds, ``V`` one of Vault transit, ``K`` one of AWS KMS.
        """
        ...

    def wrap(self, data_key: bytes, binding: Binding) -> bytes:
        """Encrypt a data key for one place.

        Args:
            data_key: The data key, 32 bytes.
            binding: The place; the key id is bound with it.

        Returns:
            The wrapped data key, at most 64 KiB.

        Raises:
            SecretBackendUnavailable: If the service that holds the key cannot be asked, or refuses.
        """
        ...

    def unwrap(self, wrapped: bytes, binding: Binding) -> bytes:
        """Decrypt a data key in its place.

        Args:
            wrapped: What :meth:`wrap` returned.
            binding: The place where it was found.

        Returns:
            The data key, 32 bytes.

        Raises:
            SecretDecryptionError: If it was changed, belongs elsewhere, or another key wrapped it.
            SecretBackendUnavailable: If the service that holds the key cannot be asked, or refuses.
        """
        ...


def refusal(binding: Binding, key_id: str) -> SecretDecryptionError:
    """Return the error for what cannot be decrypted in its place.

    Args:
        binding: The place.
        key_id: Whose key should have decrypted it.
    """
    return SecretDecryptionError(
        f"The secret {binding.name!r} (version {binding.version}) cannot be decrypted: the row was changed or moved, "
        f"or the key {key_id!r} is another one than that which encrypted it.",
        context={"name": binding.name, "version": binding.version, "key_id": key_id},
    )


def missing_extra(key_id: str, extra: str, error: ImportError) -> SecretBackendUnavailable:
    """Return the error for a key whose service needs what is not installed.

    Args:
        key_id: The key.
        extra: The extra that brings it.
        error: What could not be imported.
    """
    return SecretBackendUnavailable(
        f"SECRETS.keys[{key_id!r}] needs a module that is missing ({error}). "
        f"Install it: pip install 'automate-secrets[{extra}]'",
        retryable=False,
    )
