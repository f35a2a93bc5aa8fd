"""Secret references, and what resolves them.

A reference is text that names a secret: ``$secret:API_KEY``, ``$env:DATABASE_URL``, ``$vault:kv/billing#api_key``,
``$aws:prod/billing#api_key``; ``@7`` at the end pins a version. Definitions, connections and settings hold references,
never secrets. They are resolved as late as possible, and every value that was resolved is hidden by the redactor from
then on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from automate_core import settings as settings_module
from automate_core._references import SCHEMES
from automate_core._secret_ref import SecretRef, is_reference
from automate_core.errors import (
    AutomateError,
    ConfigurationError,
    NotRegisteredError,
    PluginLoadError,
    SecretAccessDenied,
    SecretBackendUnavailable,
    SecretError,
    SecretNotFoundError,
)
from automate_core.plugins import load_target
from automate_core.redaction import remember
from automate_core.registry import Registry, registry
from automate_core.settings import SecretSettings

__all__ = [
    "SCHEMES",
    "Resolver",
    "SecretBackend",
    "SecretRef",
    "aresolve",
    "is_reference",
    "resolve",
    "resolver",
]


class SecretBackend:
    """Where secrets are kept. Subclass it, and register the class with ``automate_register_secret_backends``.

    Args:
        config: The settings of secrets; left out, those in force.

    An instance is shared by threads, lives as long as the settings do, and may cache.
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

    def check(self) -> list[str]:
        """Look for what is wrong, for ``automate_doctor``.

        Returns:
            One sentence per problem, each with its remedy; none of them shows a secret.
        """
        return []


class Resolver:
    """Turns references into secrets.

    Args:
        registry: Where backends are registered; left out, the default registry.
        config: The settings of secrets; left out, those in force at each call.
        backends: Backends by scheme that are used instead of the registered ones, for tests.
    """

    def __init__(
        self,
        *,
        registry: Registry | None = None,
        config: SecretSettings | None = None,
        backends: Mapping[str, SecretBackend] | None = None,
    ) -> None:
        self._registry = registry
        self._config = config
        self._given = dict(backends or {})
        self._lock = threading.RLock()  # a backend may resolve its own credentials while it is made
        self._made_with: SecretSettings | None = None
        self._made: dict[str, SecretBackend] = {}

    @property
    def config(self) -> SecretSettings:
        """The settings of secrets in force."""
        return settings_module.current().secrets if self._config is None else self._config

    def resolve(self, ref: str | SecretRef, *, tenant: str | None = None) -> str:
        """Return the secret that a reference names.

        Args:
            ref: The reference.
            tenant: Whose secret it is; None is the installation's own.

        Returns:
            The secret. From now on the redactor hides it.

        Raises:
            SecretError: If this is no reference, or not one that its backend can have.
            SecretAccessDenied: If ``SECRETS.allow`` does not allow the reference.
            SecretNotFoundError: If there is no such secret.
            SecretBackendUnavailable: If its backend is not installed, or cannot be asked now.
        """
        ref = self._authorized(ref)
        with _explained(ref):
            backend = self._backend_for(ref)
            return _accept(ref, backend.get(ref.path, field=ref.field, version=ref.version, tenant=tenant))

    async def aresolve(self, ref: str | SecretRef, *, tenant: str | None = None) -> str:
        """Like :meth:`resolve`, without blocking the event loop.

        Args:
            ref: The reference.
            tenant: Whose secret it is.

        Returns:
            The secret.

        Raises:
            SecretError: As :meth:`resolve` does.
        """
        ref = self._authorized(ref)
        with _explained(ref):
            backend = self._backend_for(ref)
            return _accept(ref, await backend.aget(ref.path, field=ref.field, version=ref.version, tenant=tenant))

    def check(self) -> list[str]:
        """Look for what is wrong with the configured backend.

        Returns:
            One sentence per problem.
        """
        try:
            return self._backend("secret").check()
        except AutomateError as error:
            return [error.message]

    def _authorized(self, ref: str | SecretRef) -> SecretRef:
        ref = SecretRef(ref)
        unpinned = str(ref).partition("@")[0]
        if not any(fnmatchcase(text, pattern) for text in (str(ref), unpinned) for pattern in self.config.allow):
            raise SecretAccessDenied(
                f"{ref} may not be resolved: SECRETS.allow does not list it.", context={"reference": str(ref)}
            )
        return ref

    def _backend_for(self, ref: SecretRef) -> SecretBackend:
        backend = self._backend(ref.scheme)
        if ref.field is not None and not backend.supports_fields:
            raise SecretError(f"A secret of this backend is one value: leave #{ref.field} out.")
        if ref.version is not None and not backend.supports_versions:
            raise SecretError(f"This backend keeps no versions: leave @{ref.version} out.")
        return backend

    def _backend(self, scheme: str) -> SecretBackend:
        if scheme in self._given:
            return self._given[scheme]
        config = self.config
        with self._lock:
            if self._made_with != config:
                self._made_with, self._made = config, {}
            if scheme not in self._made:
                name = config.backend if scheme == "secret" else scheme
                # What $env: names is the variable itself; the prefix belongs to $secret:.
                own = config.model_copy(update={"prefix": ""}) if scheme == "env" else config
                self._made[scheme] = self._class(name)(own)
            return self._made[scheme]

    def _class(self, name: str) -> type[SecretBackend]:
        if "." in name:
            target = name if ":" in name else ":".join(name.rsplit(".", 1))
            found = load_target(target, what=f"SECRETS.backend {name}")
        else:
            found = self._registered(name)
        if not (isinstance(found, type) and issubclass(found, SecretBackend)):
            raise ConfigurationError(
                f"The secret backend {name!r} is not a subclass of {SecretBackend.__module__}.SecretBackend."
            )
        return found

    def _registered(self, name: str) -> Any:
        try:
            return (self._registry or registry).load("secret_backends", name)
        except NotRegisteredError as error:
            package = "automate-secrets" if name == "env" else f"automate-secrets[{name}]"
            remedy = f" Install what brings it: pip install --upgrade '{package}'." if name in _OURS else ""
            raise SecretBackendUnavailable(f"{error.message}{remedy}", retryable=False) from error


_OURS = ("env", "db", "vault", "aws")


@contextmanager
def _explained(ref: SecretRef) -> Iterator[None]:
    """Let every error of a backend be a SecretError that names the reference."""
    context = {"reference": str(ref)}
    try:
        yield
    except (SecretError, PluginLoadError, ConfigurationError) as error:
        kind = type(error) if isinstance(error, SecretError) else SecretBackendUnavailable
        raise kind(
            f"{ref}: {error.message}",
            retryable=error.retryable,
            context={**error.context, **context},
            retry_after=error.retry_after,
        ) from error
    except Exception as error:
        raise SecretBackendUnavailable(
            f"{ref}: the secret backend failed with {type(error).__name__}.", context=context
        ) from error


def _accept(ref: SecretRef, value: object) -> str:
    if not isinstance(value, str):
        raise SecretError(f"The secret backend returned {type(value).__name__}, not a text.")
    if not value:
        raise SecretNotFoundError("The secret is empty.")
    remember(value)
    return value


resolver = Resolver()
"""The default resolver."""


def resolve(ref: str | SecretRef) -> str:
    """Return the secret that a reference names.

    Args:
        ref: The reference, such as ``$secret:STRIPE_API_KEY``.

    Returns:
        The secret. From now on the redactor hides it.

    Raises:
        SecretError: If this is no reference; an unknown form is never taken for the secret itself.
        SecretAccessDenied: If ``SECRETS.allow`` does not allow the reference.
        SecretNotFoundError: If there is no such secret; the message says where it was looked for.
        SecretBackendUnavailable: If its backend is not installed, or cannot be asked now.
    """
    return resolver.resolve(ref)


async def aresolve(ref: str | SecretRef) -> str:
    """Like :func:`resolve`, without blocking the event loop.

    Args:
        ref: The reference.

    Returns:
        The secret.

    Raises:
        SecretError: As :func:`resolve` does.
    """
    return await resolver.aresolve(ref)
