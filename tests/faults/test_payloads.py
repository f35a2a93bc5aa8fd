"""Payloads and outputs of ten megabytes: refused with a typed error, or carried through."""

from __future__ import annotations

import pytest

from faults.site import Site

TEN_MEGABYTES = 10 * 1024 * 1024

EMIT_LARGE = f"""
import django; django.setup()
from automate.errors import AutomateError
from automate.events import emit_event
from automate.models import Event
from django.db import transaction
with transaction.atomic():
    try:
        print(emit_event("faults.payload", {{"text": "x" * {TEN_MEGABYTES}}}))
    except AutomateError as error:
        print(type(error).__name__, str(error)[:300])
    print(emit_event("faults.one", {{"n": 1}}))
assert Event.objects.filter(type="faults.one").count() == 1
"""


def test_ten_megabytes_in_an_event_leave_the_transaction_usable(site: Site) -> None:
    assert site.start("-c", EMIT_LARGE).wait() == 0, site.logs()
    worker = site.worker()
    site.drained()
    assert worker.alive()
    site.judge(may_fail=frozenset({"payload"}))
    assert site.counted() == 1


def test_ten_megabytes_out_of_a_step_harm_no_neighbour(site: Site) -> None:
    site.emit(3, "faults.bulky", payload={"size": TEN_MEGABYTES})
    site.emit(10, first=100)
    worker = site.worker()
    site.drained()
    assert worker.alive()
    site.judge(may_fail=frozenset({"bulky"}))
    outcomes = {run.status for run in site.facts().runs.values() if run.code}
    assert outcomes <= {"FAILED"}


@pytest.mark.parametrize("size", [1, 300_000])
def test_outputs_below_and_above_the_cap(site: Site, size: int) -> None:
    site.emit(1, "faults.bulky", payload={"size": size})
    site.worker("--drain").wait()
    site.judge(may_fail=frozenset({"bulky"}))
