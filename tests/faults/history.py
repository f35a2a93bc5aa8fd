"""Reads what was recorded about a site into the checker's facts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from faults.checker import Execution, Facts, Job, Run
from faults.custody import Change
from faults.databases import Database
from faults.triggers import COLUMNS, LEDGER

__all__ = ["read_changes", "read_effects", "read_emitted", "read_facts"]

TRIGGERED = {f"faults.{slug}": slug for slug in ("one", "two", "three", "slow", "poison", "bulky", "payload")}
"""The workflow that each type of event starts."""

EXPECTED = {"one": ("a", ""), "two": ("b", "a"), "three": ("ac", "b"), "slow": ("a", "b")}
"""The steps with an external and those with a shared effect, by workflow: one letter each."""


def _id(value: Any) -> str:
    """Return an id as every database means it: uuids without their dashes."""
    return "" if value is None else str(value).replace("-", "")


def read_changes(database: Database, after: int = 0) -> list[Change]:
    """Return the ledger, in the order in which the rows were written.

    Args:
        database: Whose.
        after: Only what follows this place.
    """
    rows = database.query(f"SELECT seq, {COLUMNS} FROM {LEDGER} WHERE seq > {after:d} ORDER BY seq")
    return [_change(row) for row in rows]


def _change(row: Any) -> Change:
    seq, at, writer, source, id_, old, new, old_token, token, *numbers, expires, key, job = row
    old_attempts, attempts, old_crashes, crashes = (number or 0 for number in numbers)
    return Change(
        seq=seq,
        at=float(at),
        writer=writer,
        source=source,
        row=_id(id_),
        old=old,
        new=new,
        old_token=old_token or "",
        token=token or "",
        old_attempts=old_attempts,
        attempts=attempts,
        old_crashes=old_crashes,
        crashes=crashes,
        expires=None if expires is None else float(expires),
        key=key or "",
        job=_id(job),
    )


def read_emitted(path: Path) -> tuple[set[str], set[str]]:
    """Return the events whose commit returned to an emitter, and those that one rolled back."""
    found: dict[str, set[str]] = {"ok": set(), "rolled": set()}
    for line in _lines(path):
        word, _, event = line.split()
        found[word].add(_id(event))
    return found["ok"], found["rolled"]


def read_effects(path: Path) -> Counter[str]:
    """Return how often each effect outside of the database was had."""
    return Counter(_effect(line.split()[0]) for line in _lines(path))


def _effect(key: str) -> str:
    run, _, step = key.partition(":")
    return f"{_id(run)}:{step}"


def _lines(path: Path) -> list[str]:
    # A writer may have been killed within its last line; lines are written at once, so that is none of ours.
    return path.read_text().splitlines() if path.exists() else []


def read_facts(database: Database, emitted: Path, effects: Path, **given: Any) -> Facts:
    """Collect the facts about a site.

    Args:
        database: Its database.
        emitted: What its emitters noted.
        effects: What its actions did outside.
        **given: Further fields of the facts.
    """
    ok, rolled_back = read_emitted(emitted)
    return Facts(
        emitted=ok,
        rolled_back=rolled_back,
        events={_id(id_): type_ for id_, type_ in database.query("SELECT id, type FROM automate_event")},
        jobs=_jobs(database),
        executions=_executions(database),
        runs=_runs(database),
        changes=read_changes(database),
        external=read_effects(effects),
        shared=Counter(_effect(key) for (key,) in database.query("SELECT effect_key FROM faults_effect")),
        expected=EXPECTED,
        triggered=TRIGGERED,
        **given,
    )


def _jobs(database: Database) -> dict[str, Job]:
    rows = database.query("SELECT id, status, crashes, last_error, payload FROM automate_outbox_job")
    return {_id(id_): Job(status, crashes, error, _event(payload)) for id_, status, crashes, error, payload in rows}


def _event(payload: Any) -> str:
    value = payload if isinstance(payload, dict) else json.loads(payload)
    return _id(value.get("event_id"))


def _executions(database: Database) -> dict[str, Execution]:
    rows = database.query(
        "SELECT e.id, e.event_id, w.slug, e.status FROM automate_execution e "
        "JOIN automate_workflowversion v ON v.id = e.version_id JOIN automate_workflow w ON w.id = v.workflow_id"
    )
    return {_id(id_): Execution(_id(event), slug, status) for id_, event, slug, status in rows}


def _runs(database: Database) -> dict[str, Run]:
    rows = database.query("SELECT id, execution_id, status, error FROM automate_executionrun")
    return {_id(id_): Run(_id(execution), status, *_error(error)) for id_, execution, status, error in rows}


def _error(error: Any) -> tuple[str, str]:
    value = (json.loads(error) if isinstance(error, str | bytes) else error) or {}
    return str(value.get("code", "")), f"step {value.get('step')}: {value.get('message', '')}"[:300]
