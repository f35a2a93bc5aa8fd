"""What goes into an outbox and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

__all__ = ["Claims", "JobStatus", "NewJob", "OutboxItem"]

Claims = Iterable[int] | Mapping[int, str]
"""Claims of items: their ids, or their ids with the fencing tokens of the claims."""


class JobStatus(StrEnum):
    """Where an outbox item stands. COMPLETED and FAILED are final; FAILED is the dead letter."""

    PENDING = "PENDING"
    CLAIMED = "CLAIMED"
    RETRY = "RETRY"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class NewJob:
    """An item to be written to the outbox.

    Args:
        kind: What shall be done; a worker claims only the kinds that it can handle.
        payload: JSON object with what the handler needs.
        queue: Name of the queue.
        priority: Higher goes first.
        ordering_key: Items of one queue, tenant and key are done one after the other, in the order of their ids; ``""``
            means in no order.
        tenant: The tenant it belongs to.
        due: Not before this time; a timedelta counts from the database's now, None means at once.
        max_attempts: Attempts before it is FAILED.
    """

    kind: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    queue: str = "default"
    priority: int = 0
    ordering_key: str = ""
    tenant: str = ""
    due: datetime | timedelta | None = None
    max_attempts: int = 4


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A claimed item.

    Args:
        id: Its primary key.
        kind: What shall be done.
        payload: What the handler needs.
        attempts: Attempts charged so far, this one included.
        max_attempts: Attempts before it is FAILED.
        crashes: Claims that ended with a dead worker.
        lease_owner: The worker that holds it.
        lease_token: The fencing token of this claim; a later claim has another one.
        lease_expires_at: When the lease runs out, by the database's clock.
        queue: Name of the queue.
        tenant: The tenant it belongs to.
        priority: Higher went first.
        ordering_key: The key within whose order it is done; empty where there is none.
    """

    id: int
    kind: str
    payload: dict[str, Any]
    attempts: int
    max_attempts: int
    crashes: int
    lease_owner: str
    lease_token: str
    lease_expires_at: datetime
    queue: str = "default"
    tenant: str = ""
    priority: int = 0
    ordering_key: str = ""
