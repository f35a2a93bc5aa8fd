"""What a secret backend is."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from automate_core import settings as settings_module
from automate_core.errors import SecretError
from automate_core.settings import SecretSettings

__all__ = ["SecretBackend"]


class SecretBackend:
    """Where secrets are kept. Subclass it, and register the class with ``automate_register_secret_backends``.

    Args:
        config: The settings of secrets; left out, those in force.

    An instance is shared by threads and lives as long as the settings do. It keeps no answers: the resolver does, as
    ``SECRETS.cache_seconds`` and its like say. Whoever changes a secret in this process calls
    :func:`automate_core.secrets.invalidate`.
    """

    key: ClassVar[str] = ""
    """Under which it is registered."""

    supports_tenants: ClassVar[bool] = False
    """Whether each tenant has secrets of its own. Otherwise all share the installation's."""

    supports_fields: ClassVar[bool] = False
    """Whether one secret holds several values, chosen by ``#field``."""

    supports_versions: ClassVar[bool] = False
    """Whether older values can be asked for by ``@version``."""

    def __init__(self, config: SecretSettings | None = None) -> None:
        self.config = settings_module.current().secrets if config is None else config

    def get(self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None) -> str:
        """Return the value of a secret.

        Args:
            path: What stands between ``:`` and ``#``.
            field: What stands after ``#``. Never given where the backend does not support fields.
            version: What stands after ``@``. Never given where the backend does not support versions.
            tenant: Whose secret it is; None is the installation's own.

        Returns:
            The value, never empty.

        Raises:
            SecretNotFoundError: If there is no such secret; the message says where it was looked for, and how to put
                it there.
            SecretBackendUnavailable: If the backend cannot be asked now.
            SecretError: If the path cannot name a secret of this backend.
        """
        raise SecretError(f"The secret backend {self.key or type(self).__name__!r} does not define get().")

    async def aget(
        self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None
    ) -> str:
        """Like :meth:`get`, without blocking the event loop: in a thread, unless the backend has a better way.

        Args:
            path: What stands between ``:`` and ``#``.
            field: What stands after ``#``.
            version: What stands after ``@``.
            tenant: Whose secret it is.

        Returns:
            The value.

        Raises:
            SecretError: As :meth:`get` does.
        """
        return await asyncio.to_thread(self.get, path, field=field, version=version, tenant=tenant)

    def locate(self, path: str) -> str:
        """Return where this backend keeps what ``$secret:`` names, for instance behind a prefix.

        Args:
            path: What stands between ``$secret:`` and ``#``. References of other schemes name the place themselves.

        Returns:
            The path that :meth:`get` takes.
        """
        return path

    def cacheable(self) -> bool:
        """Whether the answer to a question that is put now may be kept, and one that was kept may be given.

        Returns:
            False where asking costs nothing, or where the asker may see what others do not see yet.
        """
        return True

    def check(self) -> list[str]:
        """Look for what is wrong, for ``automate_doctor``.

        Returns:
            One sentence per problem, each with its remedy; none of them shows a secret.
        """
        return []
