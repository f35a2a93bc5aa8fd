"""The keys of the audit log, from the settings of ``AUDIT``."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any

from automate_core import settings
from automate_core.errors import ConfigurationError
from automate_core.redaction import remember
from automate_core.secrets import SecretRef, is_reference
from automate_core.settings import AuditSettings, SecretSettings

from automate.audit.chain import KeyRing

__all__ = ["GENERATE_KEY", "current_ring", "read_ring"]

GENERATE_KEY = 'python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
"""A command that prints a new key."""

_KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")

_made: tuple[AuditSettings, KeyRing] | None = None


def current_ring() -> KeyRing:
    """Return the keys in force; they are read again when the settings change.

    Raises:
        ConfigurationError: If one is no key; the message never shows it.
        SecretNotFoundError: If the environment variable that one names is not set.
    """
    global _made
    config = settings.current().audit
    if _made is None or _made[0] != config:
        _made = (config, read_ring(config))
    return _made[1]


def read_ring(config: AuditSettings) -> KeyRing:
    """Read the keys of ``AUDIT.keys``.

    Args:
        config: The settings of the audit log.

    Raises:
        ConfigurationError: If one is no key; the message never shows it.
        SecretNotFoundError: If the environment variable that one names is not set.
    """
    keys = {key_id: _read_key(key_id, text) for key_id, text in config.keys.items()}
    return KeyRing(keys, config.active_key or next(reversed(keys), ""))


def _read_key(key_id: str, text: str) -> bytes:
    where = f"AUDIT.keys[{key_id!r}]"
    if not _KEY_ID.fullmatch(key_id):
        raise ConfigurationError(f"{where}: a key id is up to 64 letters, digits, '_', '.' and '-'.")
    text = _text_of(where, text).strip()
    remember(text)
    if text == _secret_key():
        raise ConfigurationError(f"{where}: this is Django's SECRET_KEY. Make a key with {GENERATE_KEY}")
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(f"{where}: this is not base64. Make a key with {GENERATE_KEY}") from None
    if len(key) < _KEY_BYTES:
        raise ConfigurationError(f"{where}: this is {len(key)} bytes, fewer than 32. Make a key with {GENERATE_KEY}")
    return key


def _text_of(where: str, text: str) -> str:
    if text.startswith("file:"):
        path = text.removeprefix("file:")
        try:
            return Path(path).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{where}: {path} cannot be read ({type(error).__name__}).") from error
    if not is_reference(text):
        return text
    if not text.startswith("$env:"):  # reading any other secret is audited, which would need the key
        raise ConfigurationError(f"{where}: only $env: references and file: can name a key of the audit log.")
    from automate_secrets.env import EnvBackend

    return EnvBackend(SecretSettings(prefix="")).get(SecretRef(text).path)


def _secret_key() -> Any:
    from django.conf import settings as django_settings

    return django_settings.SECRET_KEY
