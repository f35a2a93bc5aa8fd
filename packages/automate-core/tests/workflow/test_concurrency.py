"""Keys of concurrency, and the rate at which runs of a key may begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from automate_core.errors import TemplateError
from automate_core.workflow import compile_workflow, parse
from automate_core.workflow.rates import GRACE, Bucket, Rate
from hypothesis import given
from hypothesis import strategies as st

START = datetime(2026, 1, 1, tzinfo=UTC)


def workflow(key: str) -> Any:
    steps = [{"id": "s", "action": "flow.log"}]
    return compile_workflow(parse({"slug": "w", "steps": steps, "concurrency": {"key": key}}))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("{{ event.payload.id }}", "7"),
        ("{{ event.payload.name }}", "Ü"),
        ("{{ event.payload.name }}/{{ event.payload.id }}", "Ü/7"),
        ("{{ event.payload.flag }}", "true"),
        ("{{ event.payload.object }}", '{"a":[1,"Ü"],"b":null}'),
        ("{{ event.payload.nothing }}", ""),
        ("{{ event.payload.empty }}", ""),
        ("{{ event.payload.missing | default('') }}", ""),
        ("everything", "everything"),
    ],
)
def test_a_key_is_the_text_of_its_template(key: str, text: str) -> None:
    payload = {"id": 7, "name": "Ü", "flag": True, "object": {"b": None, "a": [1, "Ü"]}, "nothing": None, "empty": ""}
    assert workflow(key).key_for({"payload": payload}) == text


def test_a_key_that_cannot_be_rendered_is_an_error() -> None:
    with pytest.raises(TemplateError, match="customer"):
        workflow("{{ event.payload.customer }}").key_for({"payload": {}})


def test_without_concurrency_there_is_no_key() -> None:
    steps = [{"id": "s", "action": "flow.log"}]
    assert compile_workflow(parse({"slug": "w", "steps": steps})).key_for({"payload": {}}) == ""


def test_the_rate_of_a_definition() -> None:
    def rate(**more: Any) -> Any:
        steps = [{"id": "s", "action": "flow.log"}]
        return parse({"slug": "w", "steps": steps, "concurrency": {"key": "x", **more}}).concurrency.rate  # type: ignore[union-attr]

    assert rate() is None
    assert rate(per_second=2) == Rate(2, 1)
    assert rate(per_second=0.5, burst=3) == Rate(0.5, 3)


def test_a_burst_begins_at_once_and_the_others_get_times_in_a_row() -> None:
    rate, bucket, slots = Rate(2, burst=3), Bucket(), []
    for _ in range(6):
        bucket, slot = rate.take(bucket, START)
        slots.append(slot and (slot - START).total_seconds())
    assert slots == [None, None, None, 0.5, 1.0, 1.5]


def test_who_comes_new_does_not_go_before_those_who_wait() -> None:
    rate = Rate(1)
    bucket, _ = rate.take(Bucket(), START)
    bucket, slot = rate.take(bucket, START)
    assert slot == START + timedelta(seconds=1)
    bucket, newer = rate.take(bucket, START + timedelta(seconds=0.9))
    assert newer == START + timedelta(seconds=2)
    bucket, waits = rate.take(bucket, START + timedelta(seconds=1.1), waited=True)
    assert waits is None
    _, waits = rate.take(bucket, START + timedelta(seconds=2), waited=True)
    assert waits is None


def test_alone_there_is_no_line_whose_places_could_be_left_empty() -> None:
    """Where each new run takes the place of the one before, the times of those that are gone hold nobody back."""
    rate, bucket = Rate(1), Bucket()
    bucket, _ = rate.take(bucket, START, alone=True)
    for _ in range(100):
        bucket, slot = rate.take(bucket, START, alone=True)
        assert slot == START + timedelta(seconds=1)
    assert rate.take(bucket, START + timedelta(seconds=1), waited=True, alone=True)[1] is None


def test_after_an_outage_the_late_ones_do_not_begin_all_at_once() -> None:
    rate, bucket, late = Rate(10, burst=2), Bucket(), START + timedelta(hours=1)
    for _ in range(100):
        bucket, _ = rate.take(bucket, START)
    begun = 0
    for _ in range(98):
        bucket, slot = rate.take(bucket, late, waited=True)
        begun += slot is None
    assert begun == 2 + 10 * GRACE.total_seconds()


@given(
    per_second=st.sampled_from([0.5, 1.0, 7.0, 100.0]),
    burst=st.integers(1, 5),
    arrivals=st.lists(st.floats(0, 5), min_size=1, max_size=60),
    lateness=st.lists(st.floats(0, 3), min_size=1, max_size=7),
    alone=st.booleans(),
)
def test_never_faster_than_promised_and_everybody_begins(
    per_second: float, burst: int, arrivals: list[float], lateness: list[float], alone: bool
) -> None:
    rate, bucket, begun = Rate(per_second, burst), Bucket(), []
    waiting = sorted((START + timedelta(seconds=seconds), False) for seconds in arrivals)
    asked = 0
    while waiting:
        now, waited = waiting.pop(0)
        bucket, slot = rate.take(bucket, now, waited=waited, alone=alone)
        asked += 1
        assert asked < 10_000
        if slot is None:
            begun.append(now)
        else:
            assert slot > now
            come = slot + timedelta(seconds=lateness[asked % len(lateness)])
            waiting = sorted([*waiting, (come, True)])
    assert len(begun) == len(arrivals)
    for first in range(len(begun)):
        for last in range(first, len(begun)):
            seconds = (begun[last] - begun[first] + GRACE).total_seconds()
            assert last - first + 1 <= burst + per_second * seconds + 1e-3
