"""Secrets in the key-value engines of Vault."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from automate_core.errors import (
    AutomateError,
    SecretAccessDenied,
    SecretBackendUnavailable,
    SecretError,
    SecretNotFoundError,
)
from automate_core.secrets import SecretBackend
from automate_core.settings import SecretSettings

from automate_secrets._fields import pick

if TYPE_CHECKING:
    from automate_secrets._vault_answers import VaultRefusal

__all__ = ["VaultBackend"]

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+=\-]*(?:/[A-Za-z0-9_.:+=\-]+)+")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_DEFAULT_FIELD = "value"


class _Place(NamedTuple):
    """Where a secret is: the mount of an engine, the KV version of that, and the path in it."""

    mount: str
    kv: int
    path: str

    @property
    def put(self) -> str:
        """The command that puts something there."""
        return f"vault kv put -mount={self.mount} {self.path} {_DEFAULT_FIELD}=…"


class VaultBackend(SecretBackend):
    """Reads ``$vault:kv/billing#api_key`` from the key-value engine that is mounted at ``kv``, of version 1 or 2.

    ``@3`` is the third version, with an engine of version 2. Without ``#field`` the field ``value`` is read, or the
    only one. ``$secret:`` names what follows the setting ``SECRETS.vault.prefix``.

    Args:
        config: The settings of secrets; left out, those in force.
        clock: Tells monotonic time in seconds, by which the token is renewed.

    Raises:
        SecretBackendUnavailable: If hvac is not installed.
        ConfigurationError: If ``SECRETS.vault`` names no address.
    """

    key: ClassVar[str] = "vault"
    supports_fields: ClassVar[bool] = True
    supports_versions: ClassVar[bool] = True

    def __init__(self, config: SecretSettings | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(config)
        try:
            from automate_secrets._vault_client import VaultClient
        except ImportError as error:
            raise SecretBackendUnavailable(
                f"The secret backend 'vault' needs a module that is missing ({error}). "
                "Install it: pip install 'automate-secrets[vault]'",
                retryable=False,
            ) from error
        self.client = VaultClient(self.config.vault, clock=clock)
        self._told: dict[str, int] = {}

    def locate(self, path: str) -> str:
        """Return mount and path of what ``$secret:`` names.

        Args:
            path: What stands behind ``$secret:``.
        """
        return self.config.vault.prefix + path

    def get(self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None) -> str:
        """Return the value of a secret.

        Args:
            path: Mount and path, such as ``kv/billing``.
            field: Which of its values; left out, ``value`` or the only one.
            version: A number from 1, with an engine of version 2; left out, the newest.
            tenant: Makes no difference: the secrets are the installation's.

        Returns:
            The value; what is no text comes as JSON.

        Raises:
            SecretNotFoundError: If there is no such secret, version or field, or it was deleted or destroyed.
            SecretAccessDenied: If Vault refuses the login, or the login may not read the secret.
            SecretBackendUnavailable: If Vault cannot be asked now.
            SecretError: If the path or the version cannot be one.
        """
        if not _PATH.fullmatch(path):
            raise SecretError(f"{path!r} is not mount and path of a secret: write it as in $vault:kv/billing#api_key.")
        if version is not None and not _VERSION.fullmatch(version):
            raise SecretError(f"@{version} is not a version of this backend: versions are numbers from 1.")
        place = self._place(path)
        fields = self._read(place, version)
        return pick(fields, field or _only(fields, path), path)

    def check(self) -> list[str]:
        """Look for what keeps it from logging in, and for an address that shows the token to the network.

        Returns:
            One sentence per problem.
        """
        problems = []
        address = urlsplit(self.config.vault.address)
        if address.scheme == "http" and not _is_loopback(address.hostname or ""):
            problems.append(
                "SECRETS.vault.address begins with http: the token crosses the network in clear text. Use https."
            )
        try:
            self.client.call(lambda client: client.auth.token.lookup_self())
        except AutomateError as error:
            problems.append(error.message)
        return problems

    # -- where ------------------------------------------------------------------------------------------------------

    def _place(self, path: str) -> _Place:
        mounts = {**self._told, **self.config.vault.mounts}
        known = [mount for mount in mounts if path.startswith(f"{mount}/")]
        mount = max(known, key=len) if known else self._ask_for_mount(path)
        if (kv := mounts.get(mount)) is None:
            kv = self._told[mount]
        return _Place(mount, kv, path[len(mount) + 1 :])

    def _ask_for_mount(self, path: str) -> str:
        """Ask which engine answers for a path; a mount may have slashes in its name."""

        def explain(refusal: VaultRefusal) -> SecretError | None:
            if refusal.status not in (403, 404):
                return None
            return SecretAccessDenied(
                f"Vault does not say which engine answers for {path!r} ({refusal.summary}): none is mounted there, or "
                "the policies of the login give nothing in it. Where they do, name the mount in SECRETS.vault.mounts.",
                context=refusal.context,
            )

        url = f"/v1/sys/internal/ui/mounts/{path}"
        about = _part(self.client.call(lambda client: client.adapter.get(url=url), explain=explain), "data")
        mount, kind = str(about.get("path", "")).strip("/"), about.get("type")
        if kind not in ("kv", "generic") or not path.startswith(f"{mount}/"):
            raise SecretError(f"The engine at {mount!r} is of the type {kind!r}, not kv: it keeps no secrets to read.")
        self._told[mount] = 2 if _part(about, "options").get("version") == "2" else 1
        return mount

    # -- what -------------------------------------------------------------------------------------------------------

    def _read(self, place: _Place, version: str | None) -> Mapping[str, Any]:
        if place.kv == 1 and version is not None:
            raise SecretError(f"The engine at {place.mount!r} keeps no versions: leave @{version} out.")

        def ask(client: Any) -> Any:
            kv, where = client.secrets.kv, {"path": place.path, "mount_point": place.mount}
            if place.kv == 1:
                return kv.v1.read_secret(**where).get("data")
            number = None if version is None else int(version)
            answer = kv.v2.read_secret_version(version=number, raise_on_deleted_version=True, **where)
            return _part(answer, "data").get("data")

        def explain(refusal: VaultRefusal) -> SecretError | None:
            if refusal.status != 404:
                return None
            self._told.pop(place.mount, None)  # the engine may have become another
            return _missing(place, version, refusal)

        fields = self.client.call(ask, explain=explain)
        if not isinstance(fields, dict):
            raise SecretBackendUnavailable(f"Vault answers for {place.path!r} with something that is no secret.")
        return fields


def _missing(place: _Place, version: str | None, refusal: VaultRefusal) -> SecretNotFoundError:
    name = f"{place.mount}/{place.path}"
    metadata = _part(_part(refusal.body, "data"), "metadata")
    number = metadata.get("version", version)
    if metadata.get("destroyed"):
        message = f"Version {number} of the secret {name!r} was destroyed. Put a new one there: {place.put}"
    elif deleted := metadata.get("deletion_time"):
        undo = f"vault kv undelete -mount={place.mount} -versions={number} {place.path}"
        message = f"Version {number} of the secret {name!r} was deleted at {deleted}. Bring it back: {undo}"
    else:
        what = "no secret" if version is None else f"no version {version} of a secret"
        message = f"Vault has {what} {name!r}. Put it there: {place.put}"
    return SecretNotFoundError(message, context=refusal.context)


def _part(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object within an answer; an empty one where Vault left it out, as it may."""
    part = answer.get(name)
    return part if isinstance(part, dict) else {}


def _only(fields: Mapping[str, Any], path: str) -> str:
    if _DEFAULT_FIELD in fields or not fields:
        return _DEFAULT_FIELD
    if len(fields) > 1:
        names = ", ".join(f"#{name}" for name in sorted(fields)[:8])
        raise SecretError(f"The secret {path!r} has several fields. Say which one is meant: {names}.")
    return next(iter(fields))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
