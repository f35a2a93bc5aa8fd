"""The backend of encrypted rows, what it announces, and its admin page."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from automate_core.errors import (
    SecretBackendUnavailable,
    SecretDecryptionError,
    SecretError,
    SecretNotFoundError,
)
from automate_core.registry import Registry
from automate_core.secrets import Resolver, SecretBackend
from automate_core.settings import SecretSettings
from automate_core.testing.secrets import SecretBackendContract
from automate_secrets.changes import SecretVersion, secret_changed
from automate_secrets.db import DbBackend
from automate_secrets.inventory import examine, stored
from automate_secrets.models import Secret
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, ProgrammingError, connection
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def backend(config: SecretSettings) -> DbBackend:
    return DbBackend(config)


class TestDbBackend(SecretBackendContract):
    @pytest.fixture(autouse=True)
    def _config(self, config: SecretSettings) -> None:
        self.config = config

    def make_config(self) -> SecretSettings:
        return self.config

    def make_backend(self, config: SecretSettings) -> SecretBackend:
        return DbBackend(config)

    def put(
        self, backend: SecretBackend, path: str, value: str, *, field: str | None = None, tenant: str | None = None
    ) -> None:
        assert isinstance(backend, DbBackend)
        backend.set(path, value, tenant=tenant)

    def leave_thread(self) -> None:
        connection.close()


def test_it_is_found_through_the_installed_plugin(backend: DbBackend, config: SecretSettings) -> None:
    backend.set("STRIPE_API_KEY", "sk_live_in_the_database")
    backend.set("STRIPE_API_KEY", "sk_live_that_replaced_it")
    resolver = Resolver(registry=Registry(), config=config)
    assert resolver.resolve("$secret:STRIPE_API_KEY") == "sk_live_that_replaced_it"
    assert resolver.resolve("$secret:STRIPE_API_KEY@1") == "sk_live_in_the_database"
    assert asyncio.run(resolver.aresolve("$secret:STRIPE_API_KEY")) == "sk_live_that_replaced_it"
    assert resolver.check() == []


def test_no_row_holds_the_value(backend: DbBackend) -> None:
    backend.set("API_KEY", "plainly visible")
    row = Secret.objects.get()
    assert b"plainly visible" not in bytes(row.ciphertext)
    assert "visible" not in f"{row} {row!r}"


def test_no_row_can_stand_in_for_another(backend: DbBackend) -> None:
    """Every row's ciphertext in every other row's place: other names, tenants and versions, alone and together."""
    for tenant, name in itertools.product(("", "acme", "ACME"), ("API_KEY", "api_key")):
        for number in (1, 2):
            backend.set(name, f"value {number} of {name} of {tenant}", tenant=tenant)
    rows = {row.pk: bytes(row.ciphertext) for row in Secret.objects.all()}
    for here, there in itertools.permutations(rows, 2):
        Secret.objects.filter(pk=here).update(ciphertext=rows[there])
        row = Secret.objects.get(pk=here)
        with pytest.raises(SecretDecryptionError, match="changed or moved"):
            backend.get(row.name, version=str(row.version), tenant=row.tenant)
        Secret.objects.filter(pk=here).update(ciphertext=rows[here])
    assert examine(backend.ring).problems == []


@pytest.mark.parametrize(
    ("moved", "asked"),
    [
        ({"name": "MOVED"}, {"path": "MOVED"}),
        ({"tenant": "acme"}, {"path": "API_KEY", "tenant": "acme"}),
        ({"version": 7}, {"path": "API_KEY", "version": "7"}),
    ],
    ids=["name", "tenant", "version"],
)
def test_a_row_that_was_moved_is_refused(backend: DbBackend, moved: dict[str, Any], asked: dict[str, Any]) -> None:
    backend.set("API_KEY", "a value")
    Secret.objects.update(**moved)
    with pytest.raises(SecretDecryptionError, match="changed or moved"):
        backend.get(**asked)


def test_keys_are_rotated_without_losing_what_they_encrypted(backend: DbBackend, config: SecretSettings) -> None:
    backend.set("OLD", "under the first key")
    second = base64.b64encode(bytes([7] * 32)).decode()
    both = DbBackend(config.model_copy(update={"keys": {**config.keys, "k2": second}}))
    both.set("NEW", "under the second key")
    assert sorted(Secret.objects.values_list("name", "key_id")) == [("NEW", "k2"), ("OLD", "k1")]
    assert (both.get("OLD"), both.get("NEW")) == ("under the first key", "under the second key")
    assert both.check() == []
    with pytest.raises(SecretDecryptionError, match="'k2'"):
        backend.get("NEW")
    assert "'k2'" in backend.check()[0]


def test_a_value_in_clear_is_refused_by_the_model() -> None:
    with pytest.raises(SecretDecryptionError, match="not an encrypted secret"):
        Secret.objects.create(name="API_KEY", ciphertext=b"a value in clear")
    assert not Secret.objects.exists()


def test_versions_are_unique_under_concurrency(backend: DbBackend) -> None:
    def store(number: int) -> int:
        try:
            return backend.set("API_KEY", f"value number {number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(store, range(8)))
    assert sorted(versions) == list(range(1, 9))


@pytest.mark.parametrize("name", ["", "a b", "a#b", "a@b", "-a", "x" * 201, "a\0"])
def test_a_name_that_no_reference_can_spell_is_refused(backend: DbBackend, name: str) -> None:
    with pytest.raises(SecretError, match="cannot be the name"):
        backend.set(name, "a value")
    assert not Secret.objects.exists()


def test_an_empty_value_is_refused(backend: DbBackend) -> None:
    with pytest.raises(SecretError, match="empty"):
        backend.set("API_KEY", "")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (123, "a text, not int"),
        (b"bytes", "a text, not bytes"),
        ("x" * 65_537, "up to 65,536 characters, and this one has 65,537"),
    ],
)
def test_what_could_not_be_hidden_is_no_value(backend: DbBackend, value: Any, says: str) -> None:
    with pytest.raises(SecretError, match=says):
        backend.set("API_KEY", value)
    assert not Secret.objects.exists()


def test_names_and_tenants_are_texts(backend: DbBackend) -> None:
    for name, tenant in ((None, None), (b"API_KEY", None), ("API_KEY", 5)):
        arguments: Any = {"tenant": tenant}
        with pytest.raises(SecretError):
            backend.get(name, **arguments)  # type: ignore[arg-type]


def test_deleting_begins_with_a_write(backend: DbBackend) -> None:
    """SQLite refuses at once to let a transaction that has read go on to write beside others."""
    backend.set("API_KEY", "a value")
    with CaptureQueriesContext(connection) as captured:
        assert backend.delete("API_KEY") == 1
    words = [query["sql"].split()[0] for query in captured.captured_queries]
    begins = next(place for place, word in enumerate(words) if word in ("BEGIN", "DELETE"))
    assert "DELETE" in words[begins : begins + 2]


def test_tenants_and_names_that_differ_by_case_alone_are_told_apart(backend: DbBackend) -> None:
    """By its defaults MariaDB ignores case: none may delete, list or hide what belongs to another."""
    for tenant in ("acme", "ACME"):
        for name in ("key", "KEY"):
            backend.set(name, f"{name} of {tenant}", tenant=tenant)
    backend.set("ONLY-HERE", "a value", tenant="ACME")
    for tenant in ("acme", "ACME"):
        for name in ("key", "KEY"):
            assert backend.get(name, tenant=tenant) == f"{name} of {tenant}"
    assert backend.names(tenant="acme") == ["KEY", "key"]
    assert backend.delete("KEY", tenant="acme") == 1
    assert backend.names(tenant="acme") == ["key"]
    assert backend.get("KEY", tenant="ACME") == "KEY of ACME"


def test_the_case_of_a_name_matters(backend: DbBackend) -> None:
    backend.set("API_KEY", "in upper case")
    with pytest.raises(SecretNotFoundError):
        backend.get("api_key")


def test_without_keys_it_says_how_to_make_one() -> None:
    backend = DbBackend(SecretSettings(backend="db"))
    assert "os.urandom(32)" in backend.check()[0]
    Secret.objects.create(name="API_KEY", ciphertext=b"AS\x01\x02k1" + bytes(90))
    resolver = Resolver(config=backend.config, backends={"secret": backend})
    with pytest.raises(SecretBackendUnavailable, match=r"SECRETS\.keys is empty") as raised:
        resolver.resolve("$secret:API_KEY")
    assert not raised.value.retryable


def test_without_its_table_it_says_to_migrate(backend: DbBackend) -> None:
    call_command("migrate", "automate_secrets", "zero", verbosity=0)
    try:
        with pytest.raises(SecretBackendUnavailable, match=r"manage\.py migrate") as raised:
            backend.get("API_KEY")
        assert not raised.value.retryable
        assert "migrate" in backend.check()[0]
    finally:
        call_command("migrate", "automate_secrets", verbosity=0)


# -- rotating ---------------------------------------------------------------------------------------------------------


def test_rotating_stores_a_version_and_keeps_those_that_are_pinned(backend: DbBackend) -> None:
    assert backend.set("API_KEY", "the first") == 1
    assert backend.rotate("API_KEY", "the second") == 2
    assert [backend.get("API_KEY", version=version) for version in (None, "1", "2")] == [
        "the second",
        "the first",
        "the second",
    ]
    assert backend.rotate("API_KEY", "the third", keep=2) == 3
    assert backend.get("API_KEY", version="2") == "the second"
    with pytest.raises(SecretNotFoundError):
        backend.get("API_KEY", version="1")
    assert backend.rotate("API_KEY", "the fourth", keep=1) == 4
    assert [version.version for version in stored("")] == [4]


def test_rotating_prunes_no_other_secret(backend: DbBackend) -> None:
    places = [("key", ""), ("KEY", ""), ("key", "acme"), ("key", "ACME"), ("key2", "")]
    for name, tenant in places:
        backend.set(name, "the first", tenant=tenant)
    backend.rotate("key", "the second", tenant="acme", keep=1)
    for name, tenant in places:
        expected = "the second" if (name, tenant) == ("key", "acme") else "the first"
        assert backend.get(name, tenant=tenant) == expected
    assert len(stored()) == len(places)


def test_what_does_not_exist_is_not_rotated(backend: DbBackend) -> None:
    backend.set("STRIPE_KEY", "a value")
    with pytest.raises(SecretNotFoundError, match="Did you mean 'STRIPE_KEY'"):
        backend.rotate("STRIPE_KEYS", "a value")
    with pytest.raises(SecretNotFoundError, match="of the tenant 'acme'"):
        backend.rotate("STRIPE_KEY", "a value", tenant="acme")
    with pytest.raises(SecretNotFoundError):
        backend.rotate("stripe_key", "a value")
    with pytest.raises(SecretError, match="at least 1"):
        backend.rotate("STRIPE_KEY", "a value", keep=0)
    assert [version.version for version in stored()] == [1]


# -- what is announced ------------------------------------------------------------------------------------------------


@pytest.fixture
def announced() -> Iterator[list[tuple[Any, ...]]]:
    heard: list[tuple[Any, ...]] = []

    def hear(*, action: str, actor: str, versions: list[SecretVersion], key_id: str, **_: Any) -> None:
        assert connection.in_atomic_block
        heard.append((action, actor, [(one.tenant, one.name, one.version) for one in versions], key_id))

    secret_changed.connect(hear)
    yield heard
    secret_changed.disconnect(hear)


def test_every_change_is_announced_in_its_transaction(backend: DbBackend, announced: list[tuple[Any, ...]]) -> None:
    backend.set("API_KEY", "the first", tenant="acme", actor="ann")
    backend.rotate("API_KEY", "the second", tenant="acme", keep=1, actor="bob")
    backend.delete("API_KEY", tenant="acme")
    assert announced == [
        ("set", "ann", [("acme", "API_KEY", 1)], "k1"),
        ("rotated", "bob", [("acme", "API_KEY", 2)], "k1"),
        ("pruned", "bob", [("acme", "API_KEY", 1)], ""),
        ("deleted", "", [("acme", "API_KEY", 2)], ""),
    ]


def test_nothing_is_written_after_the_first_announcement(backend: DbBackend) -> None:
    """Whoever announces may hold the last lock of all by then: that of the end of the audit log."""
    backend.set("API_KEY", "the first")
    seen: list[tuple[str, list[int]]] = []

    def look(*, action: str, **_: Any) -> None:
        seen.append((action, list(Secret.objects.order_by("version").values_list("version", flat=True))))

    secret_changed.connect(look)
    try:
        backend.rotate("API_KEY", "the second", keep=1)
        backend.delete("API_KEY")
    finally:
        secret_changed.disconnect(look)
    assert seen == [("rotated", [2]), ("pruned", [2]), ("deleted", [])]


def test_what_cannot_be_announced_is_not_done(backend: DbBackend) -> None:
    backend.set("API_KEY", "the first")

    def fail(**_: Any) -> None:
        raise IntegrityError("the audit log is full")

    secret_changed.connect(fail)
    try:
        changes: list[Callable[[], int]] = [
            lambda: backend.set("API_KEY", "the second"),
            lambda: backend.set("OTHER", "a value"),
            lambda: backend.rotate("API_KEY", "the second", keep=1),
            lambda: backend.delete("API_KEY"),
        ]
        for change in changes:
            with pytest.raises(SecretBackendUnavailable, match="IntegrityError"):
                change()
    finally:
        secret_changed.disconnect(fail)
    assert [(version.name, version.version) for version in stored()] == [("API_KEY", 1)]


@pytest.mark.parametrize("error", [OperationalError, ProgrammingError])
def test_a_table_that_a_receiver_lacks_is_not_taken_for_that_of_secrets(
    backend: DbBackend, error: type[Exception]
) -> None:
    def fail(**_: Any) -> None:
        raise error("no such table: automate_auditlogentry")

    secret_changed.connect(fail)
    try:
        with pytest.raises(SecretBackendUnavailable, match="a receiver of secret_changed failed") as raised:
            backend.set("API_KEY", "the first")
    finally:
        secret_changed.disconnect(fail)
    assert "migrate automate_secrets" not in str(raised.value)
    assert not raised.value.retryable


def test_a_lock_that_a_receiver_waits_for_too_long_may_be_tried_again(backend: DbBackend) -> None:
    def fail(**_: Any) -> None:
        raise OperationalError("database is locked")

    secret_changed.connect(fail)
    try:
        with pytest.raises(SecretBackendUnavailable, match="OperationalError") as raised:
            backend.set("API_KEY", "the first")
    finally:
        secret_changed.disconnect(fail)
    assert raised.value.retryable


# -- the admin --------------------------------------------------------------------------------------------------------


def test_the_admin_shows_neither_value_nor_ciphertext_and_changes_nothing(backend: DbBackend) -> None:
    from django.contrib.auth.models import User
    from django.test import Client

    backend.set("API_KEY", "not for the admin")
    row = Secret.objects.get()
    raw = bytes(row.ciphertext)
    user = User.objects.create_superuser("root", password="root")
    client = Client()
    client.force_login(user)
    pages = [
        client.get("/admin/automate_secrets/secret/"),
        client.get("/admin/automate_secrets/secret/?q=API"),
        client.get(f"/admin/automate_secrets/secret/{row.pk}/change/"),
    ]
    for page in pages:
        assert page.status_code == 200
        text = page.content.decode()
        assert "API_KEY" in text
        assert "ciphertext" not in text
        assert "not for the admin" not in text
        assert raw.hex() not in text
        assert repr(raw)[2:20] not in text
    assert client.get("/admin/automate_secrets/secret/add/").status_code == 403
    assert client.post(f"/admin/automate_secrets/secret/{row.pk}/change/", {"name": "X"}).status_code == 403
    assert client.post(f"/admin/automate_secrets/secret/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    user.delete()
