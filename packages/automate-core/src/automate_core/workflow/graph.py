"""The graph of a definition whose ``needs`` may be wrong: what is wrong with them, and what runs before what."""

from __future__ import annotations

from collections.abc import Iterator

from automate_core.errors import nearby
from automate_core.payload import json_pointer
from automate_core.schema import Problem
from automate_core.workflow.definition import WorkflowDefinition

__all__ = ["Graph"]


class Graph:
    """What needs what, by position.

    Args:
        definition: The definition.
    """

    def __init__(self, definition: WorkflowDefinition) -> None:
        self.ids: dict[str, int] = {}
        """Position of the first step of each id."""

        for index, step in enumerate(definition.steps):
            self.ids.setdefault(step.id, index)
        self._steps = definition.steps
        self._needed = [self._positions(index) for index in range(len(definition.steps))]
        self._ancestors: list[int] = []
        for index, needed in enumerate(self._needed):
            earlier = [position for position in needed if position < index]
            mask = 0
            for position in earlier:
                mask |= self._ancestors[position] | 1 << position
            self._ancestors.append(mask)

    def _positions(self, index: int) -> list[int]:
        needs = self._steps[index].needs
        if needs is None:
            return [index - 1] if index else []
        return [self.ids[name] for name in needs if name in self.ids]

    def has(self, name: str) -> bool:
        """Return whether a step has this id.

        Args:
            name: The id.
        """
        return name in self.ids

    def runs_before(self, name: str, index: int) -> bool:
        """Return whether a step has run, for sure, before another one starts.

        Args:
            name: Id of the one.
            index: Position of the other.
        """
        return bool(self._ancestors[index] >> self.ids[name] & 1)

    def check_step(self, index: int) -> Iterator[Problem]:
        """Find what is wrong with the id and the needs of a step.

        Args:
            index: Its position.
        """
        step = self._steps[index]
        if self.ids[step.id] != index:
            yield Problem(json_pointer(("steps", index, "id")), f"{step.id!r} is the id of an earlier step too")
        seen: set[str] = set()
        for position, name in enumerate(step.needs or ()):
            problem = self._need_problem(name, index, seen)
            if problem:
                yield Problem(json_pointer(("steps", index, "needs", position)), problem)
            seen.add(name)

    def _need_problem(self, name: str, index: int, seen: set[str]) -> str:
        if name not in self.ids:
            return f"there is no step {name!r}.{nearby(name, self.ids)}"
        if name in seen:
            return f"{name!r} is named twice"
        target = self.ids[name]
        if target < index:
            return ""
        if self._reaches(target, index):
            return f"{name!r} waits for {self._steps[index].id!r} itself: steps cannot wait in a cycle"
        return f"{name!r} comes later: a step stands after what it needs"

    def _reaches(self, start: int, goal: int) -> bool:
        pending, seen = [start], set()
        while pending:
            position = pending.pop()
            if position == goal:
                return True
            if position not in seen:
                seen.add(position)
                pending += self._needed[position]
        return False
