"""What a backend logs in with: named by its settings, read when it is needed."""

from __future__ import annotations

from pathlib import Path

from automate_core.errors import ConfigurationError, SecretError
from automate_core.redaction import remember
from automate_core.secrets import SecretRef, is_reference
from automate_core.settings import SecretSettings

from automate_secrets.env import EnvBackend

__all__ = ["read_file", "read_reference"]


def read_reference(setting: str, text: str) -> str:
    """Return what a setting names, or says.

    Args:
        setting: Its name, for messages.
        text: An ``$env:`` reference, or the value itself where that is no secret.

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
    return value


def read_file(setting: str, path: str) -> str:
    """Return what is in the file that a setting names, without white space around it.

    Args:
        setting: Its name, for messages.
        path: The file.

    Raises:
        ConfigurationError: If it cannot be read, or is empty.
    """
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The file {path}, which the setting {setting} names, cannot be read ({type(error).__name__}). "
            "Mount it where the web and worker processes run, readable for their user."
        ) from error
    if not value:
        raise ConfigurationError(f"The file {path}, which the setting {setting} names, is empty.")
    remember(value)
    return value
