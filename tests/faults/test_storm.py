"""The storm: many jobs, many faults, nothing lost, nothing doubled."""

from __future__ import annotations

import inspect
import os
import random

import pytest
from automate import action

from faults.conftest import FULL, MakeProxy, report
from faults.figures import figures_of, missed
from faults.site import LEASE, REAPER, Site
from faults.storm import SIZES, Storm, make_plan

SHARED_ONCE = "transactional" in inspect.signature(action).parameters
"""Whether the product offers effects that are had exactly once."""


@pytest.fixture
def stormy_site(kind: str, request: pytest.FixtureRequest) -> Site:
    """On PostgreSQL a site on a server that may be restarted."""
    site: Site = request.getfixturevalue("private_site" if kind == "postgres" else "site")
    return site


def test_a_storm_loses_and_doubles_nothing(
    stormy_site: Site, kind: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("AUTOMATE_FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))
    size, site = SIZES[kind, FULL], stormy_site
    cluster = request.getfixturevalue("cluster") if kind == "postgres" else None
    make_proxy: MakeProxy | None = request.getfixturevalue("make_proxy") if size.cuts else None
    again = f"AUTOMATE_FAULTS_SEED={seed} nox -s 'faults({kind})' -- {'--full ' if FULL else ''}-k storm"
    terminal = request.config.get_terminal_writer()
    with capsys.disabled():
        terminal.line(f"\nstorm on {kind}, seed {seed}; to run it again: {again}")
    log = site.folder / "faults.log"

    def say(text: str) -> None:
        with log.open("a") as file:
            file.write(f"{text}\n")

    new_proxy = (lambda: make_proxy(site)) if make_proxy else None
    storm = Storm(site, size, seed, cluster=cluster, new_proxy=new_proxy, say=say)
    try:
        record = storm.run()
    except AssertionError as error:
        error.add_note(f"{again}\n{log.read_text()}\n{site.logs()}")
        raise
    facts = site.facts(shared_once=SHARED_ONCE, may_fail=frozenset({"poison"}))
    violations = site.violations(shared_once=SHARED_ONCE, may_fail=frozenset({"poison"}))
    figures = figures_of(facts, violations, record, size)
    with capsys.disabled():
        for name, value in figures.items():
            terminal.line(f"  {name:48} {round(value, 3)}")
    report(f"{kind}-1-storm", seed=seed, full=FULL, **figures)
    found = "\n".join(map(str, violations[:40]))
    assert violations == [], f"{len(violations)} violations; {again}\n{found}\n{log.read_text()}\n{site.logs()}"
    assert len(facts.events) == size.jobs + size.poison, again
    assert figures["crashes to quarantine, max"] <= 3, again
    if FULL:
        assert missed(figures) == {}, again
    # In a gate, a machine that is busy with other things gets its time.
    assert figures["recovery after SIGKILL, max"] <= LEASE + REAPER + 2 + 20, again
    assert figures["SIGTERM to exit, idle, max"] <= 10, again


def test_a_seed_makes_one_plan() -> None:
    size = SIZES["postgres", True]
    assert make_plan(size, 7) == make_plan(size, 7)
    assert make_plan(size, 7) != make_plan(size, 8)
    kinds = [fault.kind for fault in make_plan(size, 7)]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "kill": 134,
        "kill child": 66,
        "stop": 50,
        "cut": 25,
        "lose answer": 25,
        "restart": 10,
    }
