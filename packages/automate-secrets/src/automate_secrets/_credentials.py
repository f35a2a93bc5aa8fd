"""What a backend logs in with: named by its settings, read when it is needed."""

from __future__ import annotations

import stat

from automate_core.errors import ConfigurationError, SecretError
from automate_core.redaction import remember
from automate_core.secrets import SecretRef, is_reference, note_credential
from automate_core.settings import SecretSettings

from automate_secrets._files import read_file
from automate_secrets.env import EnvBackend

__all__ = ["read_credential", "read_reference"]


def read_reference(setting: str, text: str, *, noted: bool = True) -> str:
    """Return what a setting names, or says.

    Args:
        setting: Its name, for messages.
        text: An ``$env:`` reference, or the value itself where that is no secret.
        noted: Whether the access goes on record here.

    Raises:
        ConfigurationError: If the variable is not set.
    """
    if not is_reference(text):
        return text
    try:
        value = EnvBackend(SecretSettings()).get(SecretRef(text).path)
    except SecretError as error:
        raise ConfigurationError(f"{error.message} The setting {setting} names it.") from error
    remember(value)
    if noted:
        note_credential(text, setting=setting)
    return value


def read_credential(setting: str, path: str, *, readers: int = stat.S_IRGRP) -> str:
    """Return what is in the file that a setting names, without white space around it.

    Args:
        setting: Its name, for messages.
        path: The file.
        readers: As :func:`~automate_secrets._files.read_file` takes them. An agent that runs as another user writes
            for its group (``0640``).

    Raises:
        ConfigurationError: If it cannot be read, is empty, or others have access to it.
    """
    value = read_file(setting, path, readers=readers).strip()
    if not value:
        raise ConfigurationError(f"{setting}: {path} is empty.")
    remember(value)
    note_credential(f"file:{path}", setting=setting)
    return value
