"""Secrets in environment variables."""

from __future__ import annotations

import os
import re
from typing import ClassVar

from automate_core.errors import SecretError, SecretNotFoundError
from automate_core.secrets import SecretBackend

__all__ = ["EnvBackend"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EnvBackend(SecretBackend):
    """Reads ``$secret:API_KEY`` from the environment variable ``AUTOMATE_API_KEY``.

    The prefix is the setting ``SECRETS.prefix``. ``$env:API_KEY`` is read without it, and so is what :meth:`get` takes.
    """

    key: ClassVar[str] = "env"

    def locate(self, path: str) -> str:
        """Return the name of the variable that ``$secret:`` means.

        Args:
            path: What stands behind ``$secret:``.
        """
        return self.config.prefix + path

    def cacheable(self) -> bool:
        """Return False: the environment is in memory."""
        return False

    def get(self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None) -> str:
        """Return the value of an environment variable.

        Args:
            path: The name of the variable.
            field: Not supported.
            version: Not supported.
            tenant: Makes no difference: the environment belongs to the installation.

        Returns:
            The value.

        Raises:
            SecretNotFoundError: If the variable is not set, or empty.
            SecretError: If the path cannot be the name of a variable.
        """
        if not _NAME.fullmatch(path):
            raise SecretError(f"{path!r} cannot be the name of an environment variable: use letters, digits and '_'.")
        value = os.environ.get(path)
        if value is None:
            raise SecretNotFoundError(
                f"The environment variable {path} is not set. Set it where the web and worker processes start.",
                context={"variable": path},
            )
        if not value:
            raise SecretNotFoundError(f"The environment variable {path} is empty.", context={"variable": path})
        return value

    async def aget(
        self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None
    ) -> str:
        """Like :meth:`get`; the environment is in memory, so no thread is needed.

        Args:
            path: The name of the variable.
            field: Not supported.
            version: Not supported.
            tenant: Makes no difference.

        Returns:
            The value.

        Raises:
            SecretError: As :meth:`get` does.
        """
        return self.get(path, field=field, version=version, tenant=tenant)
