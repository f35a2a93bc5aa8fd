from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from automate_core.errors import ConfigurationError
from automate_core.testing import databases


@pytest.fixture
def no_mariadb(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AUTOMATE_TEST_MYSQL", raising=False)
    monkeypatch.setattr(databases, "_answers", lambda host, port: False)
    databases.find_server.cache_clear()
    yield
    databases.find_server.cache_clear()


REASON = "MariaDB: nothing answers on 127.0.0.1:3306; set AUTOMATE_TEST_MYSQL"


def test_a_missing_server_is_a_skip_that_says_why(no_mariadb: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception) as caught:
        databases.require_database("mariadb")
    assert str(caught.value) == REASON
    with pytest.raises(ConfigurationError, match="nothing answers"):
        databases.django_databases("mariadb")


def test_a_missing_server_fails_where_ci_is_true(no_mariadb: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception) as caught:
        databases.require_database("mariadb")
    assert str(caught.value) == REASON


def test_sqlite_is_always_there_and_belongs_to_the_process() -> None:
    databases.find_server.cache_clear()
    default = databases.django_databases("sqlite")["default"]
    assert databases.require_database("default") == "default"
    code = (
        "from automate_core.testing.databases import django_databases\n"
        "print(django_databases('sqlite')['default']['TEST']['NAME'])\n"
        "import sys; assert not {'django', 'pytest', 'psycopg', 'pymysql'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() != default["TEST"]["NAME"] != default["NAME"]


def test_the_environment_chooses_a_database_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOMATE_TEST_DATABASE", raising=False)
    assert databases.chosen_database() == "sqlite"
    monkeypatch.setenv("AUTOMATE_TEST_DATABASE", "postgre")
    with pytest.raises(ConfigurationError, match="Did you mean 'postgres'"):
        databases.chosen_database()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://me:p%40ss@db:6432/shop", ("shop", "me", "p@ss", "db", "6432")),
        ("postgresql://postgres:@/postgres?host=/tmp/x", ("postgres", "postgres", "", "/tmp/x", "")),
        ("postgres://127.0.0.1", ("fallback", "", "", "127.0.0.1", "")),
    ],
)
def test_servers_are_named_by_urls(url: str, expected: tuple[str, ...]) -> None:
    config = databases._read_url(url, "engine", "fallback")
    assert tuple(config[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")) == expected
