"""The daily budget: reserved before a call, settled after it, never passed.

Amounts are whole micro-dollars, so that a database adds them exactly. A ledger reserves what a call can cost at the
most by one conditional statement, in which the comparison with the cap and the addition are one act. What was reserved
and never settled, because a process died in between, stays reserved: it counts as spent.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from uuid import UUID

from automate_core import settings
from automate_core.errors import BudgetExceeded
from automate_core.ids import uuid7
from automate_core.llm import ChatRequest

from automate_llm.prices import Price

__all__ = [
    "Balance",
    "Ledger",
    "MemoryLedger",
    "Reservation",
    "Settlement",
    "current_ledger",
    "daily_cap",
    "reservation_for",
    "site_today",
    "usd",
]

logger = logging.getLogger("automate.llm")

MICRO = 1_000_000


def usd(micro: int) -> Decimal:
    """Return micro-dollars as US dollars.

    Args:
        micro: The amount.
    """
    return Decimal(micro) / MICRO


def daily_cap() -> int:
    """Return ``POLICY.llm_budget_daily`` in micro-dollars, rounded down."""
    return int((settings.current().policy.llm_budget_daily * MICRO).to_integral_value(rounding=ROUND_FLOOR))


def site_today() -> date:
    """Return the day whose budget counts: today in the site's time zone (``TIME_ZONE``), in UTC without Django.

    A time zone that a request activated for its user does not count, or users could spend the budgets of two days.
    """
    django_settings = sys.modules.get("django.conf")
    if django_settings is not None and django_settings.settings.configured:
        from django.utils import timezone

        return datetime.now(timezone.get_default_timezone()).date()
    return datetime.now(UTC).date()


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call may cost at the most, and what is recorded of it. Its messages are not.

    Args:
        id: The call.
        day: The day whose budget pays.
        amount: Micro-dollars at the most.
        provider: The provider's key.
        model: The model asked for.
        prompt_hash: SHA-256 of the messages, to find calls with equal prompts.
        tenant: For whom.
        run_id: The run that calls.
        attempt: Number of the attempt.
    """

    id: UUID
    day: date
    amount: int
    provider: str
    model: str
    prompt_hash: str
    tenant: str = ""
    run_id: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a call.

    Args:
        cost: Micro-dollars that it counts.
        succeeded: Whether there is an answer.
        input_tokens: Tokens of the prompt, where the vendor said.
        output_tokens: Tokens of the answer, where the vendor said.
        latency_ms: How long it took.
        error_code: What went wrong, for machines.
    """

    cost: int
    succeeded: bool
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_ms: int = 0
    error_code: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """Where the budget of a day stands, in micro-dollars.

    Args:
        reserved: For calls without an outcome.
        spent: By calls with one.
    """

    reserved: int = 0
    spent: int = 0

    @property
    def used(self) -> int:
        """What counts against the cap."""
        return self.reserved + self.spent


def reservation_for(provider: str, request: ChatRequest, price: Price) -> Reservation:
    """Work out what a call may cost at the most.

    Input tokens are counted as the UTF-8 bytes of everything that is sent, as JSON: a token is a byte at least, and of
    identifiers, hashes and rare scripts hardly more. Output tokens are all that the call allows.

    Args:
        provider: The provider's key.
        request: The call, as it is sent.
        price: The price of its model.

    Returns:
        The reservation, for today.
    """
    messages = _json([[message.role, message.content] for message in request.messages])
    input_bytes = len(messages) + len(_json(request.options)) + len(_json(request.stop)) + 24 * len(request.messages)
    return Reservation(
        id=uuid7(),
        day=site_today(),
        amount=price.cost(input_bytes, request.max_tokens),
        provider=provider,
        model=request.model,
        prompt_hash=hashlib.sha256(messages).hexdigest(),
        tenant=request.tenant,
        run_id=request.run_id,
        attempt=request.attempt,
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=_plain).encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else repr(value)


class Ledger(ABC):
    """Keeps the budget of each day and a record of each call."""

    @abstractmethod
    def reserve(self, reservation: Reservation, cap: int) -> None:
        """Set an amount aside, if what is used of its day does not pass the cap with it.

        Args:
            reservation: The amount.
            cap: Micro-dollars of the day.

        Raises:
            BudgetExceeded: If it would; nothing was written.
        """

    @abstractmethod
    def settle(self, reservation: Reservation, settlement: Settlement) -> None:
        """Replace a reservation by what the call cost; a second time changes nothing.

        Args:
            reservation: The reservation.
            settlement: The outcome.
        """

    @abstractmethod
    def balance(self, day: date) -> Balance:
        """Return where the budget of a day stands.

        Args:
            day: The day.
        """

    async def areserve(self, reservation: Reservation, cap: int) -> None:
        """Do what :meth:`reserve` does, without blocking the event loop.

        Args:
            reservation: The amount.
            cap: Micro-dollars of the day.

        Raises:
            BudgetExceeded: As :meth:`reserve`.
        """
        self.reserve(reservation, cap)

    async def asettle(self, reservation: Reservation, settlement: Settlement) -> None:
        """Do what :meth:`settle` does, without blocking the event loop.

        Args:
            reservation: The reservation.
            settlement: The outcome.
        """
        self.settle(reservation, settlement)


def exceeded(reservation: Reservation, used: int, cap: int) -> BudgetExceeded:
    """Return the error for a call that the budget does not allow.

    Args:
        reservation: What the call could cost.
        used: Micro-dollars spent and reserved of its day.
        cap: Micro-dollars of the day.
    """
    return BudgetExceeded(
        f"A call of {reservation.model!r} could cost ${usd(reservation.amount)}, and ${usd(used)} of ${usd(cap)} for "
        f"{reservation.day} is spent or reserved. Lower max_tokens, raise POLICY.llm_budget_daily, or wait for the "
        "next day.",
        context={
            "model": reservation.model,
            "day": reservation.day.isoformat(),
            "needed_usd": str(usd(reservation.amount)),
            "used_usd": str(usd(used)),
            "cap_usd": str(usd(cap)),
        },
    )


class MemoryLedger(Ledger):
    """A ledger in this process, for use without the Django app ``automate_llm``. It starts empty with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._balances: dict[date, Balance] = {}
        self._open: set[UUID] = set()

    def reserve(self, reservation: Reservation, cap: int) -> None:
        """Set an amount aside; see :meth:`Ledger.reserve`.

        Args:
            reservation: The amount.
            cap: Micro-dollars of the day.

        Raises:
            BudgetExceeded: If it would pass the cap.
        """
        with self._lock:
            have = self._balances.get(reservation.day, Balance())
            if have.used + reservation.amount > cap:
                raise exceeded(reservation, have.used, cap)
            self._balances[reservation.day] = Balance(have.reserved + reservation.amount, have.spent)
            self._open.add(reservation.id)

    def settle(self, reservation: Reservation, settlement: Settlement) -> None:
        """Replace a reservation by the cost; see :meth:`Ledger.settle`.

        Args:
            reservation: The reservation.
            settlement: The outcome.
        """
        with self._lock:
            if reservation.id not in self._open:
                return
            self._open.remove(reservation.id)
            have = self._balances[reservation.day]
            self._balances[reservation.day] = Balance(have.reserved - reservation.amount, have.spent + settlement.cost)

    def balance(self, day: date) -> Balance:
        """Return where the budget of a day stands.

        Args:
            day: The day.
        """
        with self._lock:
            return self._balances.get(day, Balance())


_memory = MemoryLedger()


def current_ledger() -> Ledger:
    """Return the ledger in force: the database's where the app ``automate_llm`` is installed, else the process's."""
    registry = sys.modules.get("django.apps")
    if registry is not None and registry.apps.ready and registry.apps.is_installed("automate_llm"):
        from automate_llm.ledger import DjangoLedger

        return DjangoLedger()
    return _memory
