"""Secrets in encrypted rows of the database."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from automate_core.errors import (
    AutomateError,
    SecretBackendUnavailable,
    SecretError,
    SecretNotFoundError,
    nearby,
)
from automate_core.redaction import MAX_LENGTH
from automate_core.secrets import SecretBackend, invalidate
from automate_core.settings import SecretSettings

from automate_secrets._table import asking
from automate_secrets.envelope import decrypt, encrypt
from automate_secrets.keys import Binding, KeyRing, keys_of_django

if TYPE_CHECKING:
    from automate_secrets.models import Secret

__all__ = ["DbBackend"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:+=\-]{0,199}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_TENANT_LENGTH = 100
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_ATTEMPTS = 20


class DbBackend(SecretBackend):
    """Reads ``$secret:API_KEY`` from the table of the Django app ``automate_secrets``; ``@3`` is its third version.

    Values are encrypted by the keys of the setting ``SECRETS.keys``. A tenant sees its own secrets alone.

    Args:
        config: The settings of secrets; left out, those in force.

    Raises:
        SecretBackendUnavailable: If Django or cryptography is not installed.
    """

    key: ClassVar[str] = "db"
    supports_tenants: ClassVar[bool] = True
    supports_versions: ClassVar[bool] = True

    def __init__(self, config: SecretSettings | None = None) -> None:
        super().__init__(config)
        try:
            import cryptography  # noqa: F401 - only whether it is there
            import django  # noqa: F401 - likewise
        except ImportError as error:
            raise SecretBackendUnavailable(
                f"The secret backend 'db' needs a module that is missing ({error}). "
                "Install it: pip install 'automate-secrets[db]'",
                retryable=False,
            ) from error
        self._lock = threading.Lock()
        self._ring: KeyRing | None = None

    @property
    def ring(self) -> KeyRing:
        """The keys, read at first use.

        Raises:
            ConfigurationError: If there are none, or one has another form, or is Django's ``SECRET_KEY``.
        """
        with self._lock:
            if self._ring is None:
                self._ring = KeyRing.from_settings(self.config, keys_of_django())
            return self._ring

    def cacheable(self) -> bool:
        """Whether answers may be kept: not in a transaction, which sees what nobody else sees, and may be undone.

        Raises:
            SecretBackendUnavailable: If Django is not set up.
        """
        from django.db import router, transaction

        with asking() as model:
            return not transaction.get_connection(router.db_for_read(model)).in_atomic_block

    def get(self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None) -> str:
        """Return the value of a secret.

        Args:
            path: Its name.
            field: Not supported.
            version: A number from 1; left out, the newest.
            tenant: Whose it is.

        Returns:
            The value.

        Raises:
            SecretNotFoundError: If there is no such secret or version.
            SecretDecryptionError: If the row was changed or moved, or its key is not configured.
            SecretBackendUnavailable: If the database cannot be asked, or lacks the table.
            SecretError: If the name or the version cannot be one.
        """
        tenant = _check(path, tenant)
        if version is not None and not _VERSION.fullmatch(version):
            raise SecretError(f"@{version} is not a version of this backend: versions are numbers from 1.")
        with asking() as model:
            rows = model.objects.filter(tenant=tenant, name=path)
            rows = rows if version is None else rows.filter(version=int(version))
            row = rows.order_by("-version").first()
        if row is None:
            raise SecretNotFoundError(_missing(path, version, tenant), context={"name": path, "tenant": tenant})
        return decrypt(bytes(row.ciphertext), Binding(tenant, path, row.version), self.ring)

    async def aget(
        self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None
    ) -> str:
        """Like :meth:`get`, in the thread that Django's connections of this task belong to.

        Args:
            path: Its name.
            field: Not supported.
            version: A number from 1; left out, the newest.
            tenant: Whose it is.

        Returns:
            The value.

        Raises:
            SecretError: As :meth:`get` does.
        """
        from asgiref.sync import sync_to_async

        return await sync_to_async(self._get_and_close)(path, field=field, version=version, tenant=tenant)

    def _get_and_close(self, path: str, **options: str | None) -> str:
        """Outside of a request nobody else closes what the thread of asynchronous code has opened."""
        from django.db import close_old_connections

        close_old_connections()
        try:
            return self.get(path, **options)
        finally:
            close_old_connections()

    def set(self, name: str, value: str, *, tenant: str | None = None, actor: str = "") -> int:
        """Store a value as the newest version of a secret; older versions stay readable by ``@version``.

        Args:
            name: Its name.
            value: The value.
            tenant: Whose it is.
            actor: Who does it, for the audit log.

        Returns:
            The version.

        Raises:
            SecretError: If the name cannot be one, or the value is empty, too long or no text.
            ConfigurationError: If no keys are configured.
            SecretBackendUnavailable: If the database or the service that holds the key cannot be asked.
        """
        return self._store("set", name, value, _check(name, tenant), actor)

    def rotate(
        self, name: str, value: str, *, tenant: str | None = None, keep: int | None = None, actor: str = ""
    ) -> int:
        """Store a new value of a secret that exists, as its newest version.

        Args:
            name: Its name.
            value: The new value.
            tenant: Whose it is.
            keep: How many of the newest versions stay, the new one among them; left out, all do.
            actor: Who does it, for the audit log.

        Returns:
            The version.

        Raises:
            SecretNotFoundError: If there is no such secret; the message names what exists nearby.
            SecretError: If the value is empty, too long or no text, or ``keep`` is less than 1.
            ConfigurationError: If no keys are configured.
            SecretBackendUnavailable: If the database or the service that holds the key cannot be asked.
        """
        if keep is not None and keep < 1:
            raise SecretError("keep must be at least 1: the new version is one of those that stay.")
        return self._store("rotated", name, value, _check(name, tenant), actor, keep)

    def _store(self, action: str, name: str, value: str, tenant: str, actor: str, keep: int | None = None) -> int:
        from django.db import IntegrityError, router, transaction

        _check_value(value)
        ring = self.ring
        for _ in range(_ATTEMPTS):
            with asking() as model:
                found = model.objects.filter(tenant=tenant, name=name).order_by("-version").defer("ciphertext")
                newest = found.first()
                if action == "rotated" and newest is None:
                    raise self._not_found(name, tenant)
                version = 1 if newest is None else newest.version + 1
                # A key that is held elsewhere is asked before the transaction, which is to be short.
                envelope = encrypt(value, Binding(tenant, name, version), ring)
                using = router.db_for_write(model)
                with transaction.atomic(using=using):
                    try:
                        with transaction.atomic(using=using):
                            row = model.objects.create(tenant=tenant, name=name, version=version, ciphertext=envelope)
                    except IntegrityError:
                        continue  # another process stored this version first
                    pruned = [] if keep is None else list(found.all()[keep:])
                    _delete(pruned)
                    # Last: whoever records it locks the end of a log, and is not to wait for rows after that.
                    _announce(action, [row], actor, row.key_id)
                    if pruned:
                        _announce("pruned", pruned, actor)
                return version
        raise SecretBackendUnavailable(f"The secret {name!r} is being stored by others at the same time. Try again.")

    def delete(self, name: str, *, tenant: str | None = None, actor: str = "") -> int:
        """Delete every version of a secret.

        Args:
            name: Its name.
            tenant: Whose it is.
            actor: Who does it, for the audit log.

        Returns:
            How many versions there were.

        Raises:
            SecretNotFoundError: If there is no such secret; the message names what exists nearby.
            SecretBackendUnavailable: If the database cannot be asked, or lacks the table.
        """
        from django.db import router, transaction

        tenant = _check(name, tenant)
        with asking() as model:
            found = model.objects.filter(tenant=tenant, name=name).defer("ciphertext").order_by("version")
            rows = list(found)
            if rows:
                # It begins with a write: SQLite refuses at once to let one that has read go on to write beside others.
                with transaction.atomic(using=router.db_for_write(model)):
                    _delete(rows)
                    late = list(found.all())  # stored since then
                    _delete(late)
                    rows += late
                    _announce("deleted", rows, actor)
        if not rows:
            raise self._not_found(name, tenant)
        return len(rows)

    def _not_found(self, name: str, tenant: str) -> SecretNotFoundError:
        whose = f" of the tenant {tenant!r}" if tenant else ""
        return SecretNotFoundError(f"There is no secret {name!r}{whose}.{nearby(name, self.names(tenant=tenant))}")

    def names(self, *, tenant: str | None = None) -> list[str]:
        """Return the sorted names of the secrets.

        Args:
            tenant: Whose; None is the installation's own.

        Raises:
            SecretBackendUnavailable: If the database cannot be asked, or lacks the table.
        """
        with asking() as model:
            names = model.objects.filter(tenant=tenant or "").order_by("name").values_list("name", flat=True)
            return sorted(names.distinct())

    def check(self) -> list[str]:
        """Look for missing keys and tables, and for secrets that no configured key can decrypt.

        Returns:
            One sentence per problem.
        """
        try:
            ring = self.ring
            with asking() as model:
                used = sorted(set(model.objects.order_by().values_list("key_id", flat=True).distinct()))
        except AutomateError as error:
            return [error.message]
        return [
            f"Secrets are encrypted with the key {key_id!r}, which SECRETS.keys does not hold: they cannot be read. "
            "Put the key back."
            for key_id in used
            if key_id not in ring.keys
        ]


def _delete(rows: Sequence[Secret]) -> None:
    if rows:
        type(rows[0]).objects.filter(pk__in=[row.pk for row in rows]).delete()


def _announce(action: str, rows: Sequence[Secret], actor: str, key_id: str = "") -> None:
    """Tell whoever keeps an audit log, within the transaction of the change, and resolvers once others can see it."""
    from django.db import router, transaction

    from automate_secrets.changes import SecretVersion, announce

    model, versions = type(rows[0]), [SecretVersion(row.tenant, row.name, row.version) for row in rows]
    announce(model, action, actor, versions, key_id)
    transaction.on_commit(partial(invalidate, rows[0].name), using=router.db_for_write(model))


def _check_value(value: object) -> None:
    if not isinstance(value, str):
        raise SecretError(f"A secret is a text, not {type(value).__name__}: encode bytes first, in base64 for one.")
    if not value:
        raise SecretError("An empty value is no secret.")
    if len(value) > MAX_LENGTH:
        raise SecretError(f"A secret has up to {MAX_LENGTH:,} characters, and this one has {len(value):,}.")


def _check(name: object, tenant: object) -> str:
    """Refuse a name that no reference could spell; return the tenant as it is stored."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SecretError(
            f"{name!r} cannot be the name of a secret: up to 200 letters, digits and _ . / : + = - are allowed."
        )
    if tenant is not None and not isinstance(tenant, str):
        raise SecretError(f"A tenant is a text, not {type(tenant).__name__}.")
    if len(tenant or "") > _TENANT_LENGTH or _UNSTORABLE.search(tenant or ""):
        raise SecretError(f"A tenant has up to {_TENANT_LENGTH} characters, without NUL and halves of surrogate pairs.")
    return tenant or ""


def _missing(name: str, version: str | None, tenant: str) -> str:
    what = f"no secret {name!r}" if version is None else f"no version {version} of the secret {name!r}"
    whose, option = (f" of the tenant {tenant!r}", f" --tenant {tenant}") if tenant else ("", "")
    return f"The database holds {what}{whose}. Put it there: automate secrets set {name}{option}"
