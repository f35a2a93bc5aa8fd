"""What a plugin hands over when it registers something: plain data, nothing imported."""

from __future__ import annotations

import re
from dataclasses import dataclass

from automate_core.errors import ConfigurationError

__all__ = ["KINDS", "Spec"]

KINDS = (
    "connectors",
    "secret_backends",
    "llm_providers",
    "rag_stores",
    "embedders",
    "outbox_stores",
    "transports",
    "commands",
)
"""The kinds of things that plugins register; each has the hook ``automate_register_<kind>``."""

_KEY = re.compile(r"[a-z][a-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class Spec:
    """One registration: a key and where its class is, imported when it is first used.

    Args:
        key: The name under which it is found, ``[a-z][a-z0-9_]*``.
        target: ``"package.module:attribute"``.
        title: One line for people.
        requires: The extra that brings what the target imports, for instance ``"automate-llm[openai]"``; named in
            the error when the import fails.

    Raises:
        ConfigurationError: If the key or the target has another form.
    """

    key: str
    target: str
    title: str = ""
    requires: str = ""

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ConfigurationError(f"{self.key!r} is not a registry key: use lower case letters, digits and '_'.")
        if not _TARGET.fullmatch(self.target):
            raise ConfigurationError(f"{self.target!r} is not a target: write 'package.module:attribute'.")
