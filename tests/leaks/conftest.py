"""Hunts over the database that AUTOMATE_TEST_DATABASE names: sqlite, postgres or mariadb."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from automate_core.testing.databases import ALIASES, NAMES, chosen_database, find_server, require_database
from faults.databases import empty_database

from leaks.backends import Backends
from leaks.hunt import Hunt
from leaks.kinds import make_secrets
from leaks.server import Echo


@pytest.fixture(scope="session", params=["ecs", "simple"])
def hunt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hunt]:
    """A hunt that is over, for each format of the log."""
    kind = chosen_database()
    if find_server(kind).missing:
        require_database(ALIASES[NAMES.index(kind)])
    folder = tmp_path_factory.mktemp("hunt")
    database = empty_database(kind, folder)
    secrets = make_secrets()
    with Echo() as server, Backends(secrets) as backends:
        hunt = Hunt(folder, database, request.param, server.address, secrets, backends)
        try:
            hunt.prepare()
            hunt.work()
            hunt.collect()
            hunt.received = server.received
            yield hunt
        finally:
            database.drop()
