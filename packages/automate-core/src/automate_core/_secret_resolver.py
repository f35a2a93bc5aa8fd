"""What turns references into secrets, and records who got which; public as :mod:`automate_core.secrets`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Mapping
from weakref import WeakSet

from pydantic import BaseModel

from automate_core import settings as settings_module
from automate_core._secret_access import AccessRecord, SecretAccess, ensure_permitted, find_own_references, is_listed
from automate_core._secret_backend import SecretBackend
from automate_core._secret_backends import Made, checked, explained, find_class
from automate_core._secret_cache import Question, SecretCache
from automate_core._secret_names import find_place
from automate_core._secret_reads import OwnRead
from automate_core._secret_ref import SecretRef
from automate_core._secret_value import SecretValue
from automate_core.errors import (
    AutomateError,
    SecretAccessDenied,
    SecretBackendUnavailable,
    SecretError,
    SecretNotFoundError,
)
from automate_core.redaction import remember
from automate_core.registry import Registry, registry
from automate_core.settings import SecretSettings

__all__ = ["Resolver", "invalidate"]


class Resolver:
    """Turns references into secrets.

    Args:
        registry: Where backends are registered; left out, the default registry.
        config: The settings of secrets; left out, those in force at each call.
        backends: Backends by scheme that are used instead of the registered ones, for tests.
        clock: Tells monotonic time in seconds, for the cache.
        on_access: Called with each access of a step, granted or denied, and with each of the installation itself for
            which a backend is asked, or ``SECRETS.cache_seconds`` after the last one; before anybody gets the secret.
            Where it raises, nobody gets it: what cannot be recorded is not handed out.
        own_references: Returns references of keys of the application around it; like those that the settings name, no
            step is given them.
    """

    __module__ = "automate_core.secrets"  # as which its repr names it

    def __init__(
        self,
        *,
        registry: Registry | None = None,
        config: SecretSettings | None = None,
        backends: Mapping[str, SecretBackend] | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_access: Callable[[AccessRecord], None] | None = None,
        own_references: Callable[[], Collection[str]] | None = None,
    ) -> None:
        self.on_access = on_access
        self.own_references = own_references
        self._named: tuple[tuple[BaseModel, ...], frozenset[str]] = ((), frozenset())
        self._registry = registry
        self._config = config
        self._given = dict(backends or {})
        self._clock = clock
        self._lock = threading.Lock()
        self._made: Made | None = None
        with _resolvers_lock:
            _resolvers.add(self)

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
            SecretBackendUnavailable: If its backend is not installed, or cannot be asked now, or the access cannot be
                recorded.
        """
        read = OwnRead(SecretRef(ref), tenant, self._clock())
        try:
            self.ensure_permitted(read.ref)
            value = self._get(read.ref, tenant, read)
        except SecretAccessDenied as denial:
            self._record_own(read, denial)
            raise
        self._record_own(read)
        return value

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
        read = OwnRead(SecretRef(ref), tenant, self._clock())
        try:
            self.ensure_permitted(read.ref)
            value = await self._aget(read)
        except SecretAccessDenied as denial:
            await asyncio.to_thread(self._record_own, read, denial)
            raise
        if self._is_due(read):
            await asyncio.to_thread(self._record_own, read)
        return value

    async def _aget(self, read: OwnRead) -> str:
        ref, tenant = read.ref, read.tenant
        backend, path, cache = self._find(ref)

        async def ask() -> str:
            read.asked_at = None if cache is None else self._clock()
            with explained(ref):
                return checked(await backend.aget(path, field=ref.field, version=ref.version, tenant=tenant))

        return _accept(await (ask() if cache is None else cache.aget(Question(ref, path, tenant), ask)))

    def invalidate(self, ref: str | SecretRef | None = None) -> None:
        """Forget what was answered, so that backends are asked again.

        Args:
            ref: Which secret is meant, with all its fields and versions, whoever's it is; left out, all are.

        Raises:
            SecretError: If this is no reference.
        """
        if ref is None:
            self._forget(lambda question: True)
            return
        meant = SecretRef(ref)
        self._forget(lambda question: (question.ref.scheme, question.ref.path) == (meant.scheme, meant.path))

    def secret(self, ref: str | SecretRef, access: SecretAccess) -> SecretValue:
        """Return the secret that a reference in a workflow names, for one of its steps.

        A tenant's run reads the tenant's secret, where the backend keeps secrets by tenant. Where the tenant has none,
        it reads the installation's if ``SECRETS.shared`` lists the reference; it never reads another tenant's. What a
        backend without tenants holds serves the runs of all. Keys of the installation itself are given to no step.

        Args:
            ref: The reference.
            access: For which step.

        Returns:
            The secret. From now on the redactor hides it.

        Raises:
            SecretError: As :meth:`resolve` does.
            SecretAccessDenied: If ``SECRETS.allow`` or ``SECRETS.access`` does not allow it.
            SecretBackendUnavailable: If its backend cannot be asked now, or the access cannot be recorded.
        """
        ref = SecretRef(ref)
        try:
            self.ensure_permitted(ref, access)
            value, owner = self._for_tenant(ref, access)
        except SecretAccessDenied as denial:
            self._record(AccessRecord(ref, access, denial=denial))
            raise
        self._record(AccessRecord(ref, access, owner=owner))
        return value

    def ensure_permitted(self, ref: str | SecretRef, access: SecretAccess | None = None) -> SecretRef:
        """Refuse a reference that the settings do not allow; nothing is resolved and nothing recorded.

        Args:
            ref: The reference.
            access: For which step; left out, the application itself asks, which ``SECRETS.access`` is not about.

        Returns:
            The reference.

        Raises:
            SecretError: If this is no reference.
            SecretAccessDenied: If ``SECRETS.allow`` or ``SECRETS.access`` does not allow it.
        """
        ref = SecretRef(ref)
        if access is None:
            ensure_permitted(ref, None, self.config)
            return ref
        with explained(ref):
            place = find_place(self.config, lambda: self._backend("secret"))
        ensure_permitted(ref, access, self.config, place, self._own_references())
        return ref

    def _own_references(self) -> frozenset[str]:
        current = settings_module.current()
        sections = (self.config, current.audit, current.llm)
        if self._named[0] != sections:
            self._named = (sections, find_own_references(*sections))
        return self._named[1].union(() if self.own_references is None else self.own_references())

    def _for_tenant(self, ref: SecretRef, access: SecretAccess) -> tuple[SecretValue, str]:
        """Return a secret, and whose it is."""
        tenant = access.tenant
        if not tenant or not self._find(ref)[0].supports_tenants:
            return SecretValue(self._get(ref, None)), ""
        try:
            return SecretValue(self._get(ref, tenant)), tenant
        except SecretNotFoundError as error:
            if self._has_other_version(ref, tenant):
                why = f"the tenant {tenant!r} has other versions of it."
            elif is_listed(str(ref), self.config.shared):
                return SecretValue(self._get(ref, None)), ""
            else:
                why = "SECRETS.shared does not list the reference."
            denial = SecretNotFoundError(
                f"{error.message} The installation's own is not read: {why}", context=error.context
            )
            self._record(AccessRecord(ref, access, denial=denial))
            raise denial from error

    def _has_other_version(self, ref: SecretRef, tenant: str) -> bool:
        """Whether a tenant lacks a version alone: that of another owner's secret would be quite another value."""
        if ref.version is None:
            return False
        try:
            return bool(self._get(SecretRef(str(ref).removesuffix(f"@{ref.version}")), tenant))
        except SecretNotFoundError:
            return False

    def _get(self, ref: SecretRef, tenant: str | None, read: OwnRead | None = None) -> str:
        backend, path, cache = self._find(ref)

        def ask() -> str:
            if read is not None and cache is not None:
                read.asked_at = self._clock()
            with explained(ref):
                return checked(backend.get(path, field=ref.field, version=ref.version, tenant=tenant))

        return _accept(ask() if cache is None else cache.get(Question(ref, path, tenant), ask))

    def note_credential(self, source: str, *, setting: str) -> None:
        """Record that a backend or a ring of keys reads what it logs in with, or encrypts with.

        Args:
            source: Where it reads it: an ``$env:`` reference, or ``file:`` and a path.
            setting: Which setting says so.

        Raises:
            SecretBackendUnavailable: If it cannot be recorded.
        """
        self._record_own(OwnRead(source, None, self._clock()), setting=setting)

    def _is_due(self, read: OwnRead) -> bool:
        return self.on_access is not None and self._in_force().reads.is_due(read)

    def _record_own(self, read: OwnRead, denial: SecretAccessDenied | None = None, *, setting: str = "") -> None:
        reads = self._in_force().reads
        # It counts as recorded before it is: what records may itself read secrets.
        if self.on_access is None or not reads.take(read):
            return
        try:
            self._record(AccessRecord(read.ref, None, owner=read.tenant or "", denial=denial, setting=setting))
        except SecretError:
            reads.remove(read)
            raise

    def _record(self, record: AccessRecord) -> None:
        if self.on_access is None:
            return
        try:
            self.on_access(record)
        except Exception as error:
            raise SecretBackendUnavailable(
                f"{record.ref}: the access cannot be recorded ({type(error).__name__}), so the secret is not used.",
                context={"reference": str(record.ref)},
            ) from error

    def check(self) -> list[str]:
        """Look for what is wrong with the backend of ``$secret:``, and with others that the settings say how to reach.

        Returns:
            One sentence per problem.
        """
        config = self.config
        set_up = {"secret": True, "vault": config.vault.address, "aws": config.aws.model_fields_set}
        problems = []
        for scheme, used in set_up.items():
            if used and scheme != config.backend:
                try:
                    problems += self._backend(scheme).check()
                except AutomateError as error:
                    problems.append(error.message)
        return problems

    def _forget(self, which: Callable[[Question], bool]) -> None:
        with self._lock:
            made = self._made
        if made is not None:
            made.cache.invalidate(which)
            made.reads.clear()

    def _find(self, ref: SecretRef) -> tuple[SecretBackend, str, SecretCache | None]:
        """Return the backend of a reference, the path in it, and the cache where it may be used."""
        with explained(ref):
            backend = self._backend(ref.scheme)
            if ref.field is not None and not backend.supports_fields:
                raise SecretError(f"A secret of this backend is one value: leave #{ref.field} out.")
            if ref.version is not None and not backend.supports_versions:
                raise SecretError(f"This backend keeps no versions: leave @{ref.version} out.")
            path = backend.locate(ref.path) if ref.scheme == "secret" else ref.path
            return backend, path, self._in_force().cache if backend.cacheable() else None

    def _in_force(self) -> Made:
        config = self.config
        with self._lock:
            if self._made is None or (self._made.config is not config and self._made.config != config):
                self._made = Made(config, self._clock)
            return self._made

    def _backend(self, scheme: str) -> SecretBackend:
        if scheme in self._given:
            return self._given[scheme]
        made = self._in_force()
        name = made.config.backend if scheme == "secret" else scheme
        with made.locks[name]:
            if name not in made.backends:
                made.backends[name] = find_class(name, self._registry or registry)(made.config)
            return made.backends[name]


_resolvers: WeakSet[Resolver] = WeakSet()
_resolvers_lock = threading.Lock()


def _accept(value: str) -> str:
    """Hide a value from now on; one from the cache may have been pushed out by others meanwhile."""
    remember(value)
    return value


def invalidate(path: str | None = None) -> None:
    """Let every resolver of this process forget what was answered. Backends that write call it.

    Args:
        path: Where the secret that changed is kept; left out, everything is forgotten.
    """
    with _resolvers_lock:
        resolvers = list(_resolvers)
    for each in resolvers:
        each._forget(lambda question: path is None or question.path == path)
