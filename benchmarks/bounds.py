"""What a figure shall be, and whether it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from measuring import figure, table


@dataclass(frozen=True)
class Target:
    """One figure and its bound.

    Args:
        name: What is measured.
        value: The figure.
        least: What it shall be at least; None where smaller is better.
        most: What it shall be at the most; None where larger is better.
    """

    name: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the figure is within its bound."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    @property
    def bound(self) -> str:
        """The bound as people write it."""
        return f"≥ {figure(self.least)}" if self.least is not None else f"≤ {figure(self.most or 0.0)}"


def report(found: Sequence[Target]) -> str:
    """Return the targets as text.

    Args:
        found: The targets.
    """
    rows = [(target.name, figure(target.value), target.bound, "met" if target.is_met else "MISSED") for target in found]
    return table("Targets", ("figure", "measured", "target", ""), rows)
