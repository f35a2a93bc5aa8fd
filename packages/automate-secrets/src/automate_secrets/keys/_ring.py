"""The key ring: the keys of ``SECRETS.keys``, each from where its text says."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NoReturn

from automate_core.errors import ConfigurationError, SecretDecryptionError, nearby
from automate_core.secrets import is_reference, note_credential
from automate_core.settings import SecretSettings

from automate_secrets._credentials import read_reference
from automate_secrets._files import read_file
from automate_secrets.keys._aws_kms import KmsKey
from automate_secrets.keys._encryption import KeyEncryption
from automate_secrets.keys._local import GENERATE_KEY, LocalKey, read_key
from automate_secrets.keys._unwrapped import Unwrapped
from automate_secrets.keys._vault_transit import TransitKey

__all__ = ["KEY_ID", "KeyRing", "read_local"]

KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
"""The form of a key id."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Key-encryption keys by their ids.

    Args:
        keys: The keys.
        active: The id of the one that encrypts.
    """

    keys: Mapping[str, KeyEncryption]
    active: str

    @classmethod
    def from_settings(cls, config: SecretSettings, refused: Collection[str] = ()) -> KeyRing:
        """Read the keys of ``SECRETS.keys``. Services that hold keys are not asked before a key is used.

        Args:
            config: The settings of secrets.
            refused: Texts that must not be a key, nor be what one is made of: Django's ``SECRET_KEY``.

        Raises:
            ConfigurationError: If there is none, one has another form, or what it names is missing; the message never
                shows a key.
        """
        if not config.keys:
            raise ConfigurationError(
                "SECRETS.keys is empty, so no secret can be encrypted. Make a key with\n"
                f"  {GENERATE_KEY}\n"
                "put it into an environment variable such as AUTOMATE_KEK_1, and name that in DJANGO_AUTOMATE: "
                'SECRETS.keys is {"k1": "$env:AUTOMATE_KEK_1"}.'
            )
        keys = {key_id: _read(key_id, text, config, refused) for key_id, text in config.keys.items()}
        return cls(keys, config.active_key or list(keys)[-1])

    def __redacted__(self) -> dict[str, object]:
        return {"keys": sorted(self.keys), "active": self.active}

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key ring is not pickled: the keys in it would be")

    def find(self, key_id: str) -> KeyEncryption:
        """Return a key.

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
        return self.keys[key_id]


def _read(key_id: str, text: str, config: SecretSettings, refused: Collection[str]) -> KeyEncryption:
    where = f"SECRETS.keys[{key_id!r}]"
    _ensure_key_id(where, key_id)
    source, _, rest = text.partition(":")
    if source == "vault-transit":
        return Unwrapped(TransitKey(key_id, rest, config.vault))
    if source == "aws-kms":
        return Unwrapped(KmsKey(key_id, rest, config.aws))
    key = LocalKey(key_id, read_local(where, key_id, text, refused))
    if source in ("$env", "file"):
        note_credential(text, setting=where)
    return key


def read_local(where: str, key_id: str, text: str, refused: Collection[str]) -> bytes:
    """Read a key that this process holds, from the settings, an environment variable or a file.

    It puts nothing on record: it also reads the keys of the audit log, and each entry of that names its key.

    Args:
        where: Which setting says it, for messages.
        key_id: Its id.
        text: 32 bytes in base64, an ``$env:`` reference, or ``file:`` and an absolute path.
        refused: Texts that must not be a key, nor be what one is made of: :func:`keys_of_django`.

    Raises:
        ConfigurationError: If one of them has another form, or what is named is missing; the message shows no key.
    """
    _ensure_key_id(where, key_id)
    source, _, rest = text.partition(":")
    if source == "file":
        text = read_file(where, rest)
    elif is_reference(text):
        if source != "$env":  # any other one would be read by a backend that itself has keys, and is audited
            raise ConfigurationError(f"{where}: only $env: references can name a key.")
        text = read_reference(where, text, noted=False)
    return read_key(where, text, refused)


def _ensure_key_id(where: str, key_id: str) -> None:
    if not KEY_ID.fullmatch(key_id):
        raise ConfigurationError(f"{where}: a key id is up to 64 letters, digits, '_', '.' and '-'.")
