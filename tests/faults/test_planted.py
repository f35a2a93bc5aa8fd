"""The harness finds the bugs that are planted into a worker: else its silence would mean nothing."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

from faults.app.plants import PLANTS, rewrite
from faults.conftest import MakeSite
from faults.site import LEASE, Site
from faults.test_signals import freeze_until_taken_over

FOUND_AS = {
    "fence on the owner alone": "stale write accepted",
    "no fence": "stale write accepted",
    "crash not counted": "crash not counted",
    "attempt not charged": "attempt not charged",
    "live leases reaped": "live lease taken",
}


def test_every_plant_has_its_violation() -> None:
    assert set(FOUND_AS) == set(PLANTS)


def scenario(bug: str, site: Site) -> set[str]:
    """Let a worker with the bug write when another one with the same name has its items; return what was found."""
    freeze_until_taken_over(site, ("same", "same"), FAULTS_PLANT=bug)
    ends = time.monotonic() + 6 * LEASE
    while site.live() and time.monotonic() < ends:  # with a bug like that some work may never end
        time.sleep(0.05)
    found = {violation.kind for violation in site.violations()}
    site.close()
    return found


def test_every_planted_bug_is_reported(make_site: MakeSite) -> None:
    sites = {bug: make_site() for bug in PLANTS}
    with ThreadPoolExecutor(len(sites)) as pool:
        found = dict(zip(sites, pool.map(scenario, sites, sites.values()), strict=True))
    for bug, site in sites.items():
        assert site.planted.exists(), f"{bug!r} changed no statement: its pattern has to follow the store's"
        assert FOUND_AS[bug] in found[bug], f"{bug!r} was not found: {found}\n{site.planted.read_text()[:2000]}"


def test_plants_leave_other_tables_and_new_rows_alone() -> None:
    changes = [(re.compile(pattern), text) for pattern, text in PLANTS["no fence"]]
    insert = "INSERT INTO automate_outbox_job (status) VALUES ('CLAIMED') WHERE status = 'CLAIMED'"
    assert rewrite(insert, changes) == insert
    update = "UPDATE automate_outbox_job SET lease_token = %s WHERE id = 1 AND status = 'CLAIMED' AND lease_token = %s"
    assert rewrite(update, changes) == (
        "UPDATE automate_outbox_job SET lease_token = %s "
        "WHERE id = 1 AND (status = 'CLAIMED' OR 1 = 1) AND (lease_token = %s OR 1 = 1)"
    )
