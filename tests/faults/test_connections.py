"""Connections that are cut, slow or silent, and the answer to a COMMIT that never comes."""

from __future__ import annotations

import random
import threading
import time
from functools import partial

import pytest

from faults.conftest import MakeProxy
from faults.site import LEASE, Site, wait_for
from faults.test_signals import slow_work, steps_begun

SEED = 20260607


def test_connections_cut_at_random_lose_and_double_nothing(site: Site, make_proxy: MakeProxy) -> None:
    source = random.Random(SEED)
    proxies = [make_proxy(site) for _ in range(3)]
    emitter = site.emitter(300, port=proxies[0].port)
    for proxy in proxies[1:]:
        site.worker(port=proxy.port)
    for _ in range(12):
        proxy = source.choice(proxies)
        if source.random() < 0.5:
            proxy.cut()
        else:
            proxy.cut_after(source.randrange(20_000))
        time.sleep(source.uniform(0.05, 0.5))
    assert emitter.wait() == 0
    site.drained()
    site.judge()


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(rb"COMMIT", id="commit"),
        pytest.param(rb"\s*(WITH|UPDATE).*automate_outbox_job.*CLAIMED", id="claim"),
        pytest.param(rb"INSERT INTO \W?automate_(steprun|execution)\W", id="insert"),
    ],
)
def test_the_answer_to_a_statement_is_lost(site: Site, make_proxy: MakeProxy, statement: bytes) -> None:
    proxy = make_proxy(site)
    site.emit(60)
    site.worker("--concurrency", "4", port=proxy.port)
    for _ in range(4):
        lost = proxy.lose_answer(statement)
        with site.explained():
            wait_for(partial(_lost_or_done, lost, site), "an answer is lost, or all is done")
    assert proxy.lost > 0, "no statement matched: the pattern has to follow the store's"
    site.drained()
    site.judge()


def _lost_or_done(lost: threading.Event, site: Site) -> bool:
    return lost.is_set() or site.live() == 0


def test_the_answer_to_an_emitters_commit_is_lost(site: Site, make_proxy: MakeProxy) -> None:
    proxy = make_proxy(site)
    lost = proxy.lose_answer(rb"COMMIT")
    assert site.emitter(30, batch=3, port=proxy.port).wait() == 0
    assert lost.is_set()
    site.worker()
    site.drained()
    site.judge()
    assert len(site.facts().events) == 30


def test_a_worker_in_a_black_hole_is_replaced_and_its_late_writes_are_refused(
    site: Site, make_proxy: MakeProxy
) -> None:
    proxy = make_proxy(site)
    slow_work(site, 0.5 * LEASE)
    site.worker("--concurrency", "4", port=proxy.port)
    steps_begun(site, 4)
    proxy.freeze()
    site.worker("--concurrency", "4")
    with site.explained():
        wait_for(lambda: site.counted() >= 8, "another worker took the items")
    proxy.thaw()
    site.drained()
    time.sleep(LEASE)  # for what the first one may still write
    site.judge()


def test_a_worker_begins_in_an_outage_and_outlasts_the_next_one(site: Site, make_proxy: MakeProxy) -> None:
    proxy = make_proxy(site)
    proxy.refuse()
    worker = site.worker("--concurrency", "4", "--unsupervised", port=proxy.port)
    with site.explained():
        wait_for(lambda: "does not answer" in site.logs(), "it waits for the database")
    proxy.admit()
    slow_work(site, 0.5 * LEASE)
    steps_begun(site, 2)
    proxy.refuse()
    time.sleep(LEASE / 2)
    assert worker.alive(), site.logs()
    proxy.admit()
    site.drained()
    assert worker.alive(), site.logs()
    site.judge()


def test_a_slow_network_costs_time_alone(site: Site, make_proxy: MakeProxy) -> None:
    proxy = make_proxy(site)
    proxy.delay(0.01)
    site.emit(20)
    site.worker("--concurrency", "2", "--lease", "15", port=proxy.port)
    site.drained()
    site.judge()
    assert all(job.crashes == 0 for job in site.facts().jobs.values())
