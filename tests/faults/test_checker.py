"""The checker finds every kind of violation in records that hold just that one, and none in sound ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from faults.checker import Execution, Facts, Job, Run, check
from faults.custody import Change


class Records:
    """Builds a ledger line by line, as the triggers would."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def add(self, writer: str, source: str, row: str, old: str | None, new: str | None, **more: object) -> Records:
        seq = len(self.changes) + 1
        line = Change(seq=seq, at=100.0 + seq, writer=writer, source=source, row=row, old=old, new=new)
        self.changes.append(replace(line, **more))  # type: ignore[arg-type]  # the fields of a Change
        return self

    def claim(self, writer: str, row: str, token: str, old: str = "PENDING", **more: object) -> Records:
        return self.add(writer, "job", row, old, "CLAIMED", **{"token": token, "attempts": 1, **more})

    def end(self, writer: str, row: str, new: str, **more: object) -> Records:
        return self.add(writer, "job", row, "CLAIMED", new, **{"expires": 500.0, **more})

    def taken_early(self, holder: str, by: str) -> Records:
        self.claim(holder, "9", "t1").end(by, "9", "RETRY", crashes=1, expires=900.0)
        return self.claim(by, "9", "t2", old="RETRY", old_attempts=1, attempts=2, old_crashes=1, crashes=1)


def sound() -> tuple[Facts, Records]:
    """One event, whose run was interrupted by a crash after its external effect."""
    records = Records()
    records.add("e", "job", "1", None, "PENDING").claim("A", "1", "t1").end("A", "1", "COMPLETED")
    records.add("A", "job", "2", None, "CLAIMED", token="t2", attempts=1)
    records.add("A", "run", "r", None, "RUNNING", job="2").add("A", "execution", "x", None, "RUNNING")
    records.end("B", "2", "RETRY", old_token="t2", crashes=1, expires=50.0)
    records.claim("B", "2", "t3", old="RETRY", old_attempts=1, attempts=2, old_crashes=1, crashes=1)
    records.add("B", "step", "r", None, "SUCCESS", key="a", attempts=1)
    records.end("B", "2", "COMPLETED", old_crashes=1, crashes=1)
    records.add("B", "run", "r", "RUNNING", "SUCCESS", job="2")
    records.add("B", "execution", "x", "RUNNING", "SUCCESS")
    facts = Facts(
        emitted={"v"},
        events={"v": "faults.two"},
        jobs={"1": Job("COMPLETED", event="v"), "2": Job("COMPLETED", crashes=1)},
        executions={"x": Execution("v", "two", "SUCCESS")},
        runs={"r": Run("x", "SUCCESS")},
        changes=records.changes,
        external={"r:b": 2},
        shared={"r:a": 1},
        expected={"two": ("b", "a")},
        triggered={"faults.two": "two"},
        shared_once=True,
    )
    return facts, records


def kinds(facts: Facts) -> set[str]:
    return {violation.kind for violation in check(facts)}


def test_sound_records_have_no_violation() -> None:
    assert check(sound()[0]) == []


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("lost", lambda f: f.emitted.add("gone")),
        ("rolled back yet there", lambda f: f.rolled_back.add("v")),
        ("lost", lambda f: (f.__setattr__("executions", {}), f.__setattr__("runs", {}))),
        ("lost", lambda f: setattr(f, "runs", {})),
        ("lost", lambda f: setattr(f, "runs", {"r": Run("x", "RUNNING")})),
        ("lost", lambda f: setattr(f, "jobs", {**f.jobs, "3": Job("RETRY")})),
        ("torn", lambda f: setattr(f, "runs", {"r": Run("x", "FAILED", "crashed")})),
        ("failed", lambda f: setattr(f, "jobs", {**f.jobs, "3": Job("FAILED", error="ValueError")})),
        ("failed", lambda f: setattr(f, "jobs", {**f.jobs, "3": Job("FAILED", crashes=2, error="crashed: …")})),
        ("started twice", lambda f: setattr(f, "executions", {**f.executions, "y": f.executions["x"]})),
        ("started twice", lambda f: setattr(f, "runs", {**f.runs, "s": f.runs["r"]})),
        ("external effect repeated", lambda f: setattr(f, "external", {"r:b": 3})),
        ("effect missing", lambda f: setattr(f, "external", {})),
        ("effect missing", lambda f: setattr(f, "shared", {})),
        ("shared effect doubled", lambda f: setattr(f, "shared", {"r:a": 2})),
    ],
)
def test_what_is_wrong_in_the_end_is_found(kind: str, spoil: Callable[[Facts], object]) -> None:
    facts, _ = sound()
    spoil(facts)
    assert kind in kinds(facts)


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("terminal changed", lambda r: r.add("A", "job", "1", "COMPLETED", "PENDING")),
        ("terminal changed", lambda r: r.add("A", "run", "r", "SUCCESS", "FAILED", job="2")),
        ("terminal changed", lambda r: r.add("A", "execution", "x", "SUCCESS", "RUNNING")),
        ("completed twice", lambda r: r.claim("A", "1", "t9", "COMPLETED").end("A", "1", "COMPLETED")),
        ("step twice", lambda r: r.add("B", "step", "r", None, "SUCCESS", key="a", attempts=2)),
        ("illegal transition", lambda r: r.add("A", "job", "9", None, "COMPLETED")),
        ("illegal transition", lambda r: r.claim("A", "9", "t1").claim("B", "9", "t2", "CLAIMED", old_attempts=0)),
        ("illegal transition", lambda r: r.add("A", "job", "9", "PENDING", None)),
        ("attempt not charged", lambda r: r.claim("A", "9", "t1", attempts=0)),
        ("live lease taken", lambda r: r.claim("A", "9", "t1").end("B", "9", "RETRY", crashes=1, expires=900.0)),
        ("live lease taken", lambda r: r.taken_early("8-b-6", by="7-a-1")),
        ("live lease taken", lambda r: r.taken_early("8-b-7", by="7-a-1").claim("8-b-7", "10", "t1")),
        ("crash not counted", lambda r: r.claim("A", "9", "t1").end("B", "9", "RETRY", expires=50.0)),
        ("stale write accepted", lambda r: r.claim("A", "9", "t1").end("B", "9", "COMPLETED", expires=50.0)),
        ("stale write accepted", lambda r: r.claim("A", "9", "t1").end("B", "9", "RETRY")),
        ("stale write accepted", lambda r: r.claim("A", "9", "t1").end("B", "9", "CLAIMED")),
        ("stale write accepted", lambda r: r.add("A", "step", "r", None, "SUCCESS", key="c", attempts=1)),
        ("stale write accepted", lambda r: r.add("A", "run", "r", "SUCCESS", "SUCCESS", job="2")),
        (
            "order violated",
            lambda r: r.add("e", "job", "8", None, "PENDING", key="k").claim("A", "9", "t1", key="k"),
        ),
    ],
)
def test_what_went_wrong_on_the_way_is_found(kind: str, spoil: Callable[[Records], object]) -> None:
    facts, records = sound()
    spoil(records)
    assert kind in kinds(facts)


def test_an_item_that_killed_its_workers_may_be_dead_before_it_started_anything() -> None:
    facts, _ = sound()
    facts.events = {**facts.events, "w": "faults.two"}
    assert kinds(facts) == {"lost"}
    facts.jobs = {**facts.jobs, "3": Job("FAILED", crashes=3, error="crashed: crash 3 of at most 3", event="w")}
    assert check(facts) == []


def test_the_order_of_a_key_is_kept_where_one_waits_for_the_other() -> None:
    facts, records = sound()
    records.add("e", "job", "8", None, "PENDING", key="k").add("e", "job", "9", None, "PENDING", key="k")
    records.claim("A", "8", "t1", key="k").end("A", "8", "COMPLETED", key="k").claim("A", "9", "t2", key="k")
    assert check(facts) == []


def test_a_parent_takes_the_leases_of_its_dead_child_early() -> None:
    facts, records = sound()
    records.taken_early("8-b-7", by="7-a-1")
    assert check(facts) == []
