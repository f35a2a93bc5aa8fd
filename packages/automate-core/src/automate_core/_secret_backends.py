"""The backends of a resolver: finding and making them, and what their failures mean."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from automate_core._redaction.frames import clear_locals
from automate_core._references import SCHEMES
from automate_core._secret_backend import SecretBackend
from automate_core._secret_cache import SecretCache
from automate_core._secret_reads import OwnReads
from automate_core._secret_ref import SecretRef
from automate_core.errors import (
    ConfigurationError,
    NotRegisteredError,
    PluginLoadError,
    SecretBackendUnavailable,
    SecretError,
    SecretNotFoundError,
)
from automate_core.plugins import load_target
from automate_core.redaction import MAX_LENGTH
from automate_core.registry import Registry
from automate_core.settings import SecretSettings

__all__ = ["Made", "checked", "explained", "find_class"]

_OURS = ("env", "db", "vault", "aws")


class Made:
    """What was made with one state of the settings: backends, what they answered, and which reads were recorded.

    Args:
        config: The settings of secrets.
        clock: Tells monotonic time in seconds.
    """

    def __init__(self, config: SecretSettings, clock: Callable[[], float]) -> None:
        self.config = config
        self.cache = SecretCache(config, clock)
        self.backends: dict[str, SecretBackend] = {}
        self.reads = OwnReads(config)
        # One for each, so that a backend that takes long to be made keeps nobody from another. It may resolve its own
        # credentials meanwhile, hence the R.
        self.locks = {name: threading.RLock() for name in (*SCHEMES, config.backend)}


def find_class(name: str, registry: Registry) -> type[SecretBackend]:
    """Return the class of a backend.

    Args:
        name: Under which it is registered, or its dotted path.
        registry: Where backends are registered.

    Raises:
        SecretBackendUnavailable: If none is registered under that name; the message says what brings it.
        ConfigurationError: If it is no class of a backend.
        PluginLoadError: If it cannot be imported.
    """
    if "." in name:
        target = name if ":" in name else ":".join(name.rsplit(".", 1))
        found = load_target(target, what=f"SECRETS.backend {name}")
    else:
        found = _registered(name, registry)
    if not (isinstance(found, type) and issubclass(found, SecretBackend)):
        raise ConfigurationError(
            f"The secret backend {name!r} is not a subclass of automate_core.secrets.SecretBackend."
        )
    return found


def _registered(name: str, registry: Registry) -> Any:
    try:
        return registry.load("secret_backends", name)
    except NotRegisteredError as error:
        package = "automate-secrets" if name == "env" else f"automate-secrets[{name}]"
        remedy = f" Install what brings it: pip install --upgrade '{package}'." if name in _OURS else ""
        raise SecretBackendUnavailable(f"{error.message}{remedy}", retryable=False) from error


@contextmanager
def explained(ref: SecretRef) -> Iterator[None]:
    """Let every error of a backend be a SecretError that names the reference, and leave no credentials in frames.

    Args:
        ref: The reference.

    Raises:
        SecretError: In the place of whatever was raised.
    """
    context, handled = {"reference": str(ref)}, sys.exception()
    try:
        yield
    except (SecretError, PluginLoadError, ConfigurationError) as error:
        clear_locals(error, handled)
        kind = type(error) if isinstance(error, SecretError) else SecretBackendUnavailable
        raise kind(
            f"{ref}: {error.message}",
            retryable=error.retryable,
            context={**error.context, **context},
            retry_after=error.retry_after,
        ) from error
    except Exception as error:
        clear_locals(error, handled)
        raise SecretBackendUnavailable(
            f"{ref}: the secret backend failed with {type(error).__name__}.", context=context
        ) from error


def checked(value: object) -> str:
    """Return what a backend answered, if that can be a secret.

    Args:
        value: The answer.

    Raises:
        SecretError: If it is no text, or too long to be hidden wherever it may appear.
        SecretNotFoundError: If it is empty.
    """
    if not isinstance(value, str):
        raise SecretError(f"The secret backend returned {type(value).__name__}, not a text.")
    if not value:
        raise SecretNotFoundError("The secret is empty.")
    if len(value) > MAX_LENGTH:
        raise SecretError(
            f"The secret has {len(value):,} characters, and more than {MAX_LENGTH:,} cannot be hidden wherever they "
            "may appear. Keep a secret that encrypts the text, and the text elsewhere."
        )
    return value
