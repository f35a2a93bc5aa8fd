"""What a policy would have made of recent steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

__all__ = ["Example", "Group", "PolicyReport"]


@dataclass(frozen=True, slots=True)
class Example:
    """One attempt of a step.

    Args:
        run: Its run.
        step: The id of the step.
        at: When it ended.
        message: What the policy says of it, or for what it was refused then.
    """

    run: str
    step: str
    at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class Group:
    """Attempts that are judged alike.

    Args:
        workflow: The slug of their workflow.
        tenant: Their tenant; empty for none.
        action: What they called.
        setting: The setting that refuses them, or did; where a refusal names none, its code.
        count: How many.
        examples: Some of them, the newest first.
    """

    workflow: str
    tenant: str
    action: str
    setting: str
    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What a policy would have made of recent steps.

    Args:
        steps: Attempts that were looked at.
        oldest: When the oldest of them ended; None where there are none.
        newest: When the newest of them did.
        complete: Whether those were all; otherwise the limit left older ones out.
        blocked: What would be refused, and was not.
        allowed: What would be allowed, and was refused by the policy of then.
        blocked_before: How many were refused, and would be again: by the policy, or because no policy allows such a
            call, as with a malformed URL.
        by_name: How many calls were judged by the name of their host alone, as its addresses were not looked up.
        unknown: How many steps do not tell which hosts they called: their connector calls various ones or is gone, or
            the input of one of ``http`` is a file, or was never rendered.
        left_out: Attempts of further groups, beyond the most that are kept.
    """

    steps: int
    oldest: datetime | None
    newest: datetime | None
    complete: bool
    blocked: tuple[Group, ...]
    allowed: tuple[Group, ...]
    blocked_before: int
    by_name: int
    unknown: int
    left_out: int

    @property
    def blocks(self) -> int:
        """How many attempts would be refused that were not."""
        return sum(group.count for group in self.blocked)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON, but for the times."""
        return {**asdict(self), "blocks": self.blocks}
