"""The measured workflow: three steps that do nothing; the last one counts."""

from __future__ import annotations

import probe
from automate import action, workflow

EVENT = "bench.happened"


@action("bench.step", idempotent=True)
def step(value: int) -> dict[str, int]:
    """Return what it is given."""
    return {"value": value}


@action("bench.last", idempotent=True)
def last(number: int) -> dict[str, int]:
    """Count the call."""
    probe.hit(number)
    return {"value": number}


with workflow("bench-three", on=EVENT, when={">=": [{"var": "amount"}, 100]}) as w:
    first = w.step("one", step, value=w.event["amount"])
    second = w.step("two", step, value=first.output["value"])
    w.step("last", last, number=w.event["i"], needs=[second])
