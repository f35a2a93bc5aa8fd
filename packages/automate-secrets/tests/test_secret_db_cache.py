"""Encrypted rows under the resolver's cache: what this process writes is seen at once, what is undone never was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from automate_core import redaction
from automate_core.errors import SecretNotFoundError
from automate_core.secrets import Resolver
from automate_core.settings import SecretSettings
from automate_secrets.db import DbBackend
from automate_secrets.models import Secret
from django.db import connection, transaction

pytestmark = pytest.mark.usefixtures("database")
KEY = "$secret:API_KEY"


@pytest.fixture
def backend(config: SecretSettings) -> DbBackend:
    return DbBackend(config)


@pytest.fixture
def resolver(config: SecretSettings) -> Resolver:
    return Resolver(config=config)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    yield
    for number in range(3):
        redaction.forget(f"value number {number}")


def test_what_this_process_writes_is_seen_at_once(backend: DbBackend, resolver: Resolver) -> None:
    with pytest.raises(SecretNotFoundError):
        resolver.resolve(KEY)
    with pytest.raises(SecretNotFoundError):
        resolver.resolve(f"{KEY}@2")
    for number in (1, 2):
        backend.set("API_KEY", f"value number {number}")
        assert resolver.resolve(KEY) == asyncio.run(resolver.aresolve(KEY)) == f"value number {number}"
    assert resolver.resolve(f"{KEY}@2") == "value number 2"
    backend.delete("API_KEY")
    with pytest.raises(SecretNotFoundError):
        resolver.resolve(KEY)


def test_it_is_kept_otherwise(backend: DbBackend, resolver: Resolver) -> None:
    backend.set("API_KEY", "value number 1")
    resolver.resolve(KEY)
    Secret.objects.all().delete()  # as another process would, of which this one hears nothing
    assert resolver.resolve(KEY) == asyncio.run(resolver.aresolve(KEY)) == "value number 1"
    resolver.invalidate(KEY)
    with pytest.raises(SecretNotFoundError):
        resolver.resolve(KEY)


def test_what_was_undone_is_not_kept(backend: DbBackend, resolver: Resolver) -> None:
    backend.set("API_KEY", "value number 1")
    assert resolver.resolve(KEY) == "value number 1"
    with transaction.atomic():
        backend.set("API_KEY", "value number 2")
        assert resolver.resolve(KEY) == "value number 2"
        transaction.set_rollback(True)
    assert resolver.resolve(KEY) == "value number 1"


def test_what_was_committed_is_seen_though_it_was_asked_for_before(backend: DbBackend, resolver: Resolver) -> None:
    def outside() -> str:
        try:
            return resolver.resolve(KEY)
        finally:
            connection.close()

    backend.set("API_KEY", "value number 1")
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            backend.set("API_KEY", "value number 2")
            assert pool.submit(outside).result(60) == "value number 1"
        assert pool.submit(outside).result(60) == "value number 2"
