"""JSON that is given to a command: written out, in a file, or on the standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from automate_core.errors import ConfigurationError

__all__ = ["read_argument", "read_file"]


def read_argument(option: str, text: str) -> Any:
    """Read what an option was given.

    Args:
        option: The option, for error messages.
        text: JSON, the name of a file that holds it, or ``-`` for the standard input.

    Raises:
        ConfigurationError: If it is neither.
    """
    if text == "-":
        return _parsed(sys.stdin.read(), f"{option} - (the standard input)")
    if text.lstrip()[:1] in ("{", "[", '"') or text in ("true", "false", "null"):
        return _parsed(text, option)
    return read_file(Path(text), option)


def read_file(path: Path, what: str = "") -> Any:
    """Read a file of JSON.

    Args:
        path: The file.
        what: The option that names it, for error messages.

    Raises:
        ConfigurationError: If it cannot be read, or is no JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = f" {what} takes JSON, a file of it, or -." if what else ""
        raise ConfigurationError(f"{path} cannot be read: {error}.{hint}") from error
    return _parsed(text, str(path))


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where} is not JSON: {error}") from error
