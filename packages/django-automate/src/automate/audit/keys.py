"""The keys of the audit log, from the settings of ``AUDIT``."""

from __future__ import annotations

from automate_core import settings
from automate_core.settings import AuditSettings
from automate_secrets.keys import GENERATE_KEY, keys_of_django, read_local

from automate.audit.chain import KeyRing

__all__ = ["GENERATE_KEY", "current_ring", "read_ring"]

_made: tuple[AuditSettings, KeyRing] | None = None


def current_ring() -> KeyRing:
    """Return the keys in force; they are read again when the settings change.

    Raises:
        ConfigurationError: If one is no key, or what it names is missing; the message never shows a key.
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
        ConfigurationError: If one is no key, or what it names is missing; the message never shows a key.
    """
    refused = keys_of_django()
    keys = {
        key_id: read_local(f"AUDIT.keys[{key_id!r}]", key_id, text, refused) for key_id, text in config.keys.items()
    }
    return KeyRing(keys, config.active_key or next(reversed(keys), ""), config.retired)
