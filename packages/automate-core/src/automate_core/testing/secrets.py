"""The contract of secret backends, and a backend in memory. Needs pytest.

A plugin's tests subclass the contract and say how its backend is made and filled::

    class TestMyBackend(SecretBackendContract):
        def make_backend(self, config):
            return MyBackend(config)

        def put(self, backend, path, value, *, field=None, tenant=None):
            ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from automate_core import redaction
from automate_core.errors import SecretAccessDenied, SecretError, SecretNotFoundError
from automate_core.secrets import Resolver, SecretBackend
from automate_core.settings import SecretSettings

__all__ = ["MemoryBackend", "SecretBackendContract"]

_VALUES = (
    "correct horse battery staple",
    'quote " backslash \\ percent % newline \n end',
    "ключ-ключ-鍵-🔑",
    "x" * 5000,
)


class MemoryBackend(SecretBackend):
    """A backend for tests: keeps fields, versions and tenants in a dict.

    Args:
        config: The settings of secrets.
        values: Secrets of the installation to begin with, by path.
    """

    key: ClassVar[str] = "memory"
    supports_tenants: ClassVar[bool] = True
    supports_fields: ClassVar[bool] = True
    supports_versions: ClassVar[bool] = True

    def __init__(self, config: SecretSettings | None = None, values: Mapping[str, str] | None = None) -> None:
        super().__init__(config)
        self._versions: dict[tuple[str | None, str, str | None], list[str]] = {}
        for path, value in (values or {}).items():
            self.put(path, value)

    def put(self, path: str, value: str, *, field: str | None = None, tenant: str | None = None) -> None:
        """Store a value as the newest version.

        Args:
            path: The path.
            value: The secret.
            field: Which of its values.
            tenant: Whose it is.
        """
        self._versions.setdefault((tenant, path, field), []).append(value)

    def get(self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None) -> str:
        """Return a value.

        Args:
            path: The path.
            field: Which of its values.
            version: A number from 1; left out, the newest.
            tenant: Whose it is.

        Raises:
            SecretNotFoundError: If it was not put here.
        """
        versions = dict(enumerate(self._versions.get((tenant, path, field), []), start=1))
        number = len(versions) if version is None else int(version) if version.isdecimal() else 0
        if number not in versions:
            raise SecretNotFoundError(f"{path!r} was not put into this backend in memory.")
        return versions[number]


class SecretBackendContract:
    """What every secret backend must hold. A subclass overrides :meth:`make_backend` and :meth:`put`.

    What the backend's ``supports_*`` flags deny is skipped.
    """

    path = "CONTRACT_API_KEY"
    """A path that the backend can have."""

    versions = ("1", "2")
    """How the older and the newer one of two versions are called."""

    def make_config(self) -> SecretSettings:
        """Return the settings that the backend is made with."""
        return SecretSettings()

    def make_backend(self, config: SecretSettings) -> SecretBackend:
        """Return a new backend.

        Args:
            config: What :meth:`make_config` returned.
        """
        raise NotImplementedError

    def put(
        self, backend: SecretBackend, path: str, value: str, *, field: str | None = None, tenant: str | None = None
    ) -> None:
        """Store a secret where the backend reads it; over an older value it is a new version.

        Args:
            backend: The backend under test.
            path: Its path.
            value: The secret.
            field: Which of its values, where the backend supports fields.
            tenant: Whose it is, where the backend supports tenants.
        """
        raise NotImplementedError

    def leave_thread(self) -> None:
        """Close what a read has opened for its thread alone, such as a database connection."""

    @pytest.fixture
    def backend(self) -> SecretBackend:
        """The backend under test."""
        return self.make_backend(self.make_config())

    @pytest.fixture(autouse=True)
    def _nothing_remembered(self) -> Iterator[None]:
        yield
        for value in _VALUES:
            redaction.forget(value)

    @pytest.mark.parametrize("value", _VALUES, ids=("words", "escapes", "unicode", "long"))
    def test_a_secret_comes_back_as_it_was_put(self, backend: SecretBackend, value: str) -> None:
        """No byte is lost, and no whitespace is stripped."""
        self.put(backend, self.path, value)
        assert backend.get(self.path) == value
        assert asyncio.run(backend.aget(self.path)) == value

    def test_what_is_missing_is_named_with_its_remedy(self, backend: SecretBackend) -> None:
        """The message names the path; no value of another secret is in it."""
        self.put(backend, self.path, _VALUES[0])
        with pytest.raises(SecretNotFoundError, match=f"{self.path}_MISSING") as raised:
            backend.get(f"{self.path}_MISSING")
        assert _VALUES[0] not in str(raised.value)
        with pytest.raises(SecretNotFoundError, match=f"{self.path}_MISSING"):
            asyncio.run(backend.aget(f"{self.path}_MISSING"))

    def test_what_it_shows_of_itself_holds_no_secret(self, backend: SecretBackend) -> None:
        """Neither its repr nor what its check says."""
        self.put(backend, self.path, _VALUES[0])
        backend.get(self.path)
        shown = f"{backend!r} {backend} {backend.check()}"
        assert _VALUES[0] not in shown

    def test_a_filled_backend_has_no_problems(self, backend: SecretBackend) -> None:
        """A check of what works is silent."""
        self.put(backend, self.path, _VALUES[0])
        assert backend.check() == []

    def test_a_new_value_replaces_the_old_one(self, backend: SecretBackend) -> None:
        """In the backend that was read before, too."""
        self.put(backend, self.path, _VALUES[0])
        backend.get(self.path)
        self.put(backend, self.path, _VALUES[1])
        assert self.make_backend(self.make_config()).get(self.path) == _VALUES[1]

    def test_older_versions_stay_readable(self, backend: SecretBackend) -> None:
        """Each is read by its name; one that does not exist is not found."""
        if not backend.supports_versions:
            pytest.skip("keeps no versions")
        self.put(backend, self.path, _VALUES[0])
        self.put(backend, self.path, _VALUES[1])
        older, newer = self.versions
        assert backend.get(self.path, version=older) == _VALUES[0]
        assert backend.get(self.path, version=newer) == _VALUES[1]
        for missing in ("3", "0", "latest"):
            with pytest.raises(SecretError):
                backend.get(self.path, version=missing)

    def test_fields_are_values_of_their_own(self, backend: SecretBackend) -> None:
        """Each field is read by its name; one that does not exist is not found."""
        if not backend.supports_fields:
            pytest.skip("a secret is one value")
        self.put(backend, self.path, _VALUES[0], field="user")
        self.put(backend, self.path, _VALUES[1], field="password")
        assert backend.get(self.path, field="user") == _VALUES[0]
        assert backend.get(self.path, field="password") == _VALUES[1]
        with pytest.raises(SecretNotFoundError):
            backend.get(self.path, field="missing")

    def test_tenants_do_not_see_each_other(self, backend: SecretBackend) -> None:
        """Nor the installation's own secrets; and the installation does not see theirs."""
        if not backend.supports_tenants:
            pytest.skip("serves the installation's secrets to all")
        self.put(backend, self.path, _VALUES[0], tenant="acme")
        for other in ("globex", None):
            with pytest.raises(SecretNotFoundError):
                backend.get(self.path, tenant=other)
        assert backend.get(self.path, tenant="acme") == _VALUES[0]

    def test_threads_may_share_it(self, backend: SecretBackend) -> None:
        """Sixteen reads at once."""
        self.put(backend, self.path, _VALUES[0])

        def read(_: int) -> str:
            try:
                return backend.get(self.path)
            finally:
                self.leave_thread()

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(read, range(16))) == {_VALUES[0]}

    def test_a_resolver_hides_what_it_resolved(self, backend: SecretBackend) -> None:
        """From then on no text shows the value; and the policy is asked first."""
        self.put(backend, self.path, _VALUES[0])
        resolver = Resolver(config=self.make_config(), backends={"secret": backend})
        assert resolver.resolve(f"$secret:{self.path}") == _VALUES[0]
        assert _VALUES[0] not in redaction.redact_text(f"failed with {_VALUES[0]}")
        closed = self.make_config().model_copy(update={"allow": ("$env:*",)})
        with pytest.raises(SecretAccessDenied, match=r"SECRETS\.allow"):
            Resolver(config=closed, backends={"secret": backend}).resolve(f"$secret:{self.path}")

    def test_a_resolver_names_the_missing_reference(self, backend: SecretBackend) -> None:
        """The error is the backend's, with the reference before it."""
        resolver = Resolver(config=self.make_config(), backends={"secret": backend})
        with pytest.raises(SecretNotFoundError, match=rf"^\$secret:{self.path}_MISSING: ") as raised:
            resolver.resolve(f"$secret:{self.path}_MISSING")
        assert raised.value.context["reference"] == f"$secret:{self.path}_MISSING"
