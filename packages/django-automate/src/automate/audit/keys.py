"""The keys of the audit log, from the settings of ``AUDIT``."""

from __future__ import annotations

import re

from automate_core import settings
from automate_core.errors import ConfigurationError
from automate_core.secrets import SecretRef, is_reference
from automate_core.settings import AuditSettings, SecretSettings
from automate_secrets.env import EnvBackend
from automate_secrets.keys import GENERATE_KEY, read_file, read_key

from automate.audit.chain import KeyRing

__all__ = ["GENERATE_KEY", "current_ring", "read_ring"]

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
    return KeyRing(keys, config.active_key or next(reversed(keys), ""), config.retired)


def _read_key(key_id: str, text: str) -> bytes:
    where = f"AUDIT.keys[{key_id!r}]"
    if not _KEY_ID.fullmatch(key_id):
        raise ConfigurationError(f"{where}: a key id is up to 64 letters, digits, '_', '.' and '-'.")
    return read_key(where, _text_of(where, text), [_secret_key()])


def _text_of(where: str, text: str) -> str:
    if text.startswith("file:"):
        return read_file(where, text.removeprefix("file:"))
    if not is_reference(text):
        return text
    if not text.startswith("$env:"):  # reading any other secret is audited, which would need the key
        raise ConfigurationError(f"{where}: only $env: references and file: can name a key of the audit log.")
    return EnvBackend(SecretSettings(prefix="")).get(SecretRef(text).path)


def _secret_key() -> str:
    from django.conf import settings as django_settings

    return str(django_settings.SECRET_KEY)
