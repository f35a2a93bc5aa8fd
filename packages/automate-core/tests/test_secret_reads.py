"""What the installation reads for itself is on record, once each time that a backend is asked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from automate_core.errors import SecretAccessDenied, SecretBackendUnavailable, SecretNotFoundError
from automate_core.secrets import AccessRecord, Resolver, SecretBackend
from automate_core.settings import SecretSettings


class Backend(SecretBackend):
    """Holds one secret for everybody, and counts who asks."""

    supports_tenants = True
    kept = True
    asked = 0

    def cacheable(self) -> bool:
        return self.kept

    def get(self, path: str, **options: str | None) -> str:
        self.asked += 1
        if path == "MISSING":
            raise SecretNotFoundError("There is none.")
        if path == "CLOSED":
            raise SecretAccessDenied("The backend refuses.")
        return "correct-horse-battery"


class Setup:
    """A resolver, its clock, and what is on record."""

    def __init__(self, *, kept: bool = True, **config: Any) -> None:
        self.now = 100.0
        self.records: list[AccessRecord] = []
        self.backend = Backend(SecretSettings(**config))
        self.backend.kept = kept
        self.resolver = Resolver(
            config=self.backend.config,
            backends=dict.fromkeys(["secret", "env"], self.backend),
            clock=lambda: self.now,
            on_access=self.records.append,
        )

    def told(self) -> list[str]:
        return [str(record.ref) for record in self.records]


def synchronously(setup: Setup, ref: str, **options: Any) -> str:
    return setup.resolver.resolve(ref, **options)


def asynchronously(setup: Setup, ref: str, **options: Any) -> str:
    return asyncio.run(setup.resolver.aresolve(ref, **options))


@pytest.fixture(params=[synchronously, asynchronously])
def read(request: pytest.FixtureRequest) -> Callable[..., str]:
    found: Callable[..., str] = request.param
    return found


def test_a_fetch_is_on_record_and_what_the_cache_answers_is_not(read: Callable[..., str]) -> None:
    setup = Setup(cache_seconds=60)
    for _ in range(3):
        assert read(setup, "$secret:KEY") == "correct-horse-battery"
    setup.now += 59.9
    read(setup, "$secret:KEY")
    assert (setup.told(), setup.backend.asked) == (["$secret:KEY"], 1)
    (record,) = setup.records
    assert (record.access, record.owner, record.denial) == (None, "", None)
    assert "correct-horse-battery" not in repr(record)
    setup.now += 0.1
    read(setup, "$secret:KEY")
    assert (setup.told(), setup.backend.asked) == (["$secret:KEY"] * 2, 2)


def test_of_what_no_cache_keeps_one_read_is_on_record_for_as_long_as_a_cache_would_keep_it(
    read: Callable[..., str],
) -> None:
    setup = Setup(kept=False, cache_seconds=60)
    for _ in range(5):
        read(setup, "$env:KEY")
        setup.now += 20
    assert setup.backend.asked == 5
    assert setup.told() == ["$env:KEY"] * 2


def test_without_a_cache_each_read_is_on_record(read: Callable[..., str]) -> None:
    setup = Setup(cache_seconds=0)
    for _ in range(3):
        read(setup, "$secret:KEY")
    assert setup.told() == ["$secret:KEY"] * 3


def test_each_reference_and_each_owner_counts_for_itself(read: Callable[..., str]) -> None:
    setup = Setup()
    read(setup, "$secret:KEY")
    read(setup, "$secret:OTHER")
    read(setup, "$secret:KEY", tenant="acme")
    assert [(str(record.ref), record.owner) for record in setup.records] == [
        ("$secret:KEY", ""),
        ("$secret:OTHER", ""),
        ("$secret:KEY", "acme"),
    ]


def test_after_an_invalidation_the_next_read_is_on_record(read: Callable[..., str]) -> None:
    setup = Setup(kept=False)
    read(setup, "$env:KEY")
    setup.resolver.invalidate()
    read(setup, "$env:KEY")
    assert len(setup.records) == 2


def test_a_refusal_is_on_record_and_a_missing_secret_is_not(read: Callable[..., str]) -> None:
    setup = Setup(allow=("$secret:*",))
    for ref, error in (
        ("$env:KEY", SecretAccessDenied),
        ("$secret:CLOSED", SecretAccessDenied),
        ("$secret:MISSING", SecretNotFoundError),
    ):
        with pytest.raises(error):
            read(setup, ref)
    assert setup.told() == ["$env:KEY", "$secret:CLOSED"]
    assert all(record.denial is not None for record in setup.records)


def test_what_cannot_be_recorded_is_not_handed_out_and_is_tried_again(read: Callable[..., str]) -> None:
    setup = Setup()

    def fail(record: AccessRecord) -> None:
        raise RuntimeError("the log is away")

    setup.resolver.on_access = fail
    for _ in range(2):
        with pytest.raises(SecretBackendUnavailable, match="cannot be recorded"):
            read(setup, "$secret:KEY")
    setup.resolver.on_access = setup.records.append
    read(setup, "$secret:KEY")
    assert setup.told() == ["$secret:KEY"]


def test_of_threads_that_read_at_one_time_one_is_on_record() -> None:
    setup, together = Setup(), threading.Barrier(8)
    asked = setup.backend.get

    def get(path: str, **options: str | None) -> str:
        time.sleep(0.05)  # the others come meanwhile
        return asked(path, **options)

    setup.backend.get = get  # type: ignore[method-assign] # of this one alone

    def read() -> None:
        together.wait()
        setup.resolver.resolve("$secret:KEY")

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(read) for _ in range(8)]:
            done.result()
    assert (setup.told(), setup.backend.asked) == (["$secret:KEY"], 1)


def test_what_records_may_read_secrets_itself() -> None:
    setup = Setup()
    seen: list[str] = []

    def record(access: AccessRecord) -> None:
        seen.append(str(access.ref))
        setup.resolver.resolve("$secret:KEY")
        setup.resolver.resolve("$secret:PASSWORD_OF_THE_LOG")

    setup.resolver.on_access = record
    setup.resolver.resolve("$secret:KEY")
    assert seen == ["$secret:KEY", "$secret:PASSWORD_OF_THE_LOG"]


def test_a_credential_is_on_record_with_its_setting() -> None:
    setup = Setup()
    for _ in range(2):
        setup.resolver.note_credential("file:/run/secrets/token", setting="SECRETS.vault.token_file")
    (record,) = setup.records
    assert (record.ref, record.access, record.setting) == (
        "file:/run/secrets/token",
        None,
        "SECRETS.vault.token_file",
    )
