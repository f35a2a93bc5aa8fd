"""What a simulation is about: workflows, events, items, drawn from the seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

__all__ = ["Emission", "draw_emissions", "draw_workflows", "expected"]

TYPES = ("sim.a", "sim.b", "sim.c")
POISON = "sim.poison"


def draw_workflows(dice: Random) -> list[dict[str, Any]]:
    """Draw workflows of one to five steps, and one that no worker survives."""
    drawn = [_workflow(dice, f"flow-{number}") for number in range(dice.randint(1, 3))]
    return [*drawn, {"slug": "poison", "trigger": _trigger(POISON), "steps": [{"id": "s0", "action": "sim.external"}]}]


def _trigger(event: str, rule: Any = None) -> dict[str, Any]:
    return {"type": "event", "event": event, **({} if rule is None else {"rule": rule})}


def _workflow(dice: Random, slug: str) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    for number in range(dice.randint(1, 5)):
        step: dict[str, Any] = {
            "id": f"s{number}",
            "action": dice.choice(("sim.external", "sim.shared")),
            "timeout": round(dice.choice((dice.uniform(1.0, 4.0), 20.0)), 2),
            "retry": {"max_attempts": dice.randint(1, 3), "initial": 0.1, "max": 1.0},
        }
        if dice.random() < 0.5:
            before = [earlier["id"] for earlier in steps]
            step["needs"] = sorted(dice.sample(before, dice.randint(0, min(2, len(before)))))
        if dice.random() < 0.3:
            step["on_error"] = "continue"
        steps.append(step)
    rule = {">": [{"var": "amount"}, 3]} if dice.random() < 0.3 else None
    return {"slug": slug, "trigger": _trigger(dice.choice((*TYPES, "*")), rule), "steps": steps}


def expected(workflow: dict[str, Any], type: str, amount: int) -> bool:
    """Tell whether an event starts a workflow."""
    trigger = workflow["trigger"]
    return trigger["event"] in ("*", type) and ("rule" not in trigger or amount > 3)


@dataclass
class Emission:
    """One transaction of the application.

    Args:
        events: The events, as :func:`automate.events.emit_events` takes them; none for an item.
        rolls_back: Whether it is taken back.
        item: What the payload of an item is.
        done: Whether the application knows that it was committed.
        tries: How often it was begun.
    """

    events: list[dict[str, Any]]
    rolls_back: bool = False
    item: dict[str, Any] | None = None
    ids: tuple[str, ...] = ()
    done: bool = False
    tries: int = 0


def draw_emissions(dice: Random) -> list[Emission]:
    """Draw what the application emits."""
    drawn, number = [], 0
    poison = dice.randint(0, 2) if dice.random() < 0.4 else 0
    for index in range(dice.randint(4, 10)):
        if dice.random() < 0.2:
            drawn.append(Emission([], item={"number": index, "poison": dice.random() < 0.15}))
            continue
        events = []
        for _ in range(1 if dice.random() < 0.6 else dice.randint(2, 5)):
            number += 1
            events.append(_event(dice, number, POISON if number <= poison else dice.choice(TYPES)))
        drawn.append(Emission(events, rolls_back=dice.random() < 0.1))
        if dice.random() < 0.2 and all("dedupe_key" in event for event in events):
            drawn.append(Emission([dict(event) for event in events]))
    dice.shuffle(drawn)
    return drawn


def _event(dice: Random, number: int, type: str) -> dict[str, Any]:
    event: dict[str, Any] = {"type": type, "payload": {"number": number, "amount": dice.randint(1, 6)}}
    if dice.random() < 0.6:
        event["dedupe_key"] = f"key-{number}"
    if dice.random() < 0.4:
        event["ordering_key"] = dice.choice(("x", "y"))
    if dice.random() < 0.3:
        event["priority"] = dice.randint(-2, 2)
    return event
