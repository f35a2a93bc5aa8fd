"""What must hold when a simulation has come to its end."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from simulation.scenario import expected
from simulation.settings import MAX_CRASHES

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["check_end"]


def check_end(world: World) -> None:
    """Compare the rows with what was emitted, and with what happened."""
    _check_events(world)
    _check_decisions(world)
    _check_runs(world)
    _check_items(world)
    _check_effects(world)


def _check_events(world: World) -> None:
    """Nothing is lost, nothing that was rolled back remains, a dedupe key has one event."""
    rows = world.database.query("SELECT id, payload FROM automate_event")
    found = {row[0]: json.loads(row[1])["number"] for row in rows}
    numbers = Counter(found.values())
    wanted = {event["payload"]["number"] for one in world.emissions if not one.rolls_back for event in one.events}
    for emission in world.emissions:
        for event, event_id in zip(emission.events, emission.ids, strict=True):
            number = event["payload"]["number"]
            if not emission.rolls_back and found.get(event_id.replace("-", "")) != number:
                world.ledger.wrong(f"event {number} was committed and is lost")
            if "dedupe_key" in event and numbers[number] > 1:
                world.ledger.wrong(f"dedupe key {event['dedupe_key']} has {numbers[number]} events")
            if numbers[number] > sum(one.tries for one in world.emissions if event in one.events):
                world.ledger.wrong(f"event {number} was doubled")
            if number not in wanted and numbers[number]:
                world.ledger.wrong(f"event {number} was rolled back and is there")
    carried = Counter(
        json.loads(row[0])["event_id"].replace("-", "")
        for row in world.database.query("SELECT payload FROM automate_outbox_job WHERE kind = 'automate.event'")
    )
    if carried != Counter(dict.fromkeys(found, 1)):
        world.ledger.wrong("events and their outbox items do not belong together")


def _check_decisions(world: World) -> None:
    """Each event was decided, once, and started what it should."""
    decided = Counter(world.database.query("SELECT event_id, version_id FROM automate_decision"))
    started = Counter(
        world.database.query(
            "SELECT x.event_id, w.slug FROM automate_execution x "
            "JOIN automate_workflowversion v ON v.id = x.version_id JOIN automate_workflow w ON w.id = v.workflow_id"
        )
    )
    for what, count in [*decided.items(), *started.items()]:
        if count > 1:
            world.ledger.wrong(f"{what} was decided or started {count} times")
    for event_id, type, payload, status in world.database.query(
        "SELECT e.id, e.type, e.payload, j.status FROM automate_event e JOIN automate_outbox_job j "
        "ON j.kind = 'automate.event' AND replace(json_extract(j.payload, '$.event_id'), '-', '') = e.id"
    ):
        amount = json.loads(payload)["amount"]
        should = {flow["slug"] for flow in world.workflows if expected(flow, type, amount)}
        if status == "FAILED":
            should = set()
        does = {slug for event, slug in started if event == event_id}
        if does != should:
            world.ledger.wrong(f"event {json.loads(payload)['number']} ({status}) started {does}, not {should}")


def _check_runs(world: World) -> None:
    """Each run ended, as its steps, its execution and its item say."""
    for run, status, execution, item, number in world.database.query(
        "SELECT r.id, r.status, x.status, j.status, j.id FROM automate_executionrun r "
        "JOIN automate_execution x ON x.id = r.execution_id LEFT JOIN automate_outbox_job j ON j.id = r.job_id"
    ):
        if status not in ("SUCCESS", "FAILED") or execution != status:
            world.ledger.wrong(f"the run of item {number} is {status}, its execution {execution}")
        if item != "COMPLETED" and not (item == "FAILED" and status == "FAILED"):
            world.ledger.wrong(f"the run of item {number} is {status}, the item {item}")
        steps = {step: set(attempts.values()) for (of, step), attempts in world.ledger.steps.items() if of == run}
        failed = [step for step, statuses in steps.items() if "FAILED" in statuses]
        if status == "FAILED" and item == "COMPLETED" and not failed:
            world.ledger.wrong(f"the run of item {number} failed without a step that did")


def _check_items(world: World) -> None:
    """Crashes were counted, and the limit was kept."""
    for item, kind, attempts, crashes, status, error in world.database.query(
        "SELECT id, kind, attempts, crashes, status, last_error FROM automate_outbox_job"
    ):
        job = world.ledger.jobs[item]
        if kind != "sim.item" and job.counts["retried"] + job.counts["failed"] and not world.faults.refusals:
            world.ledger.wrong(f"item {item} was given back for an error that nothing had: {error}")
        if crashes > MAX_CRASHES or (crashes == MAX_CRASHES and status != "FAILED"):
            world.ledger.wrong(f"item {item} is {status} after {crashes} crashes")
        if error.startswith("crashed") and not job.counts["crash"]:
            world.ledger.wrong(f"item {item} failed for crashes that it did not have")
        if not job.counts["rescheduled"] and attempts != job.claims - job.counts["released"]:
            world.ledger.wrong(f"item {item} has {attempts} attempts after {job.claims} claims")


def _check_effects(world: World) -> None:
    """An effect is repeated only by what interrupted its item; one that shares the database never is."""
    for (run, step, number), count in world.effects.items():
        item = world.ledger.runs[run][1]
        counts = world.ledger.jobs[item].counts
        if count > 1 + counts["crash"] + counts["released"] + counts["retried"]:
            world.ledger.wrong(f"step {step} of item {item}, attempt {number}, had {count} effects: {counts}")
    shared = Counter(world.database.query("SELECT run, step FROM sim_effect"))
    actions = {flow["slug"]: {step["id"]: step["action"] for step in flow["steps"]} for flow in world.workflows}
    done = Counter(
        (run, step)
        for run, step, slug in world.database.query(
            "SELECT s.run_id, s.step_id, w.slug FROM automate_steprun s "
            "JOIN automate_executionrun r ON r.id = s.run_id "
            "JOIN automate_execution x ON x.id = r.execution_id JOIN automate_workflowversion v ON v.id = x.version_id "
            "JOIN automate_workflow w ON w.id = v.workflow_id WHERE s.status = 'SUCCESS'"
        )
        if actions[slug][step] == "sim.shared"
    )
    if shared != done:
        world.ledger.wrong(f"effects that share the database: {shared - done} too many, {done - shared} too few")
