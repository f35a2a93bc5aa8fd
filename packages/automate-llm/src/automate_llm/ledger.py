"""The ledger in the project's database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date

from automate_core.errors import LLMError

from automate_llm.budget import Balance, Ledger, Reservation, Settlement, exceeded

__all__ = ["DjangoLedger"]

_TRIES = 100
"""How often a reservation is tried while the budget has room, and others are faster."""


class DjangoLedger(Ledger):
    """The ledger in the tables of the app ``automate_llm``.

    A reservation must be seen by everybody before the call leaves, and must outlive what the caller rolls back. So
    inside a transaction of the caller the ledger writes through a connection of its own. SQLite has one writer: there
    the ledger writes within the caller's transaction, other writers wait for it, and a rollback takes the record along.

    Args:
        using: The database alias; None asks Django's routers.
    """

    def __init__(self, using: str | None = None) -> None:
        self._using = using

    @property
    def using(self) -> str:
        """The database alias."""
        from django.db import router

        from automate_llm.models import LLMBudgetDay

        return self._using or router.db_for_write(LLMBudgetDay)

    def reserve(self, reservation: Reservation, cap: int) -> None:
        """Set an amount aside; see :meth:`Ledger.reserve`.

        Args:
            reservation: The amount.
            cap: Micro-dollars of the day.

        Raises:
            BudgetExceeded: If it would pass the cap.
            LLMError: If the database cannot be asked now, or lacks the tables.
        """
        from django.db import Error, OperationalError

        try:
            self._durably(lambda: self._reserve(reservation, cap))
        except Error as error:
            raise LLMError(
                f"The LLM budget cannot be reserved: the database refused ({type(error).__name__}). If its tables are "
                "missing: manage.py migrate automate_llm.",
                retryable=isinstance(error, OperationalError) and "no such table" not in str(error),
                context={"billed": False},
            ) from error

    def settle(self, reservation: Reservation, settlement: Settlement) -> None:
        """Replace a reservation by the cost; see :meth:`Ledger.settle`.

        Args:
            reservation: The reservation.
            settlement: The outcome.
        """
        self._durably(lambda: self._settle(reservation, settlement))

    def balance(self, day: date) -> Balance:
        """Return where the budget of a day stands.

        Args:
            day: The day.
        """
        from automate_llm.models import LLMBudgetDay

        row = LLMBudgetDay.objects.using(self.using).filter(day=day).first()
        return Balance() if row is None else Balance(row.reserved, row.spent)

    async def areserve(self, reservation: Reservation, cap: int) -> None:
        """Do what :meth:`reserve` does, in Django's thread for database work.

        Args:
            reservation: The amount.
            cap: Micro-dollars of the day.

        Raises:
            BudgetExceeded: If it would pass the cap.
        """
        await self._in_thread(lambda: self.reserve(reservation, cap))

    async def asettle(self, reservation: Reservation, settlement: Settlement) -> None:
        """Do what :meth:`settle` does, in Django's thread for database work.

        Args:
            reservation: The reservation.
            settlement: The outcome.
        """
        await self._in_thread(lambda: self.settle(reservation, settlement))

    async def _in_thread(self, write: Callable[[], None]) -> None:
        from asgiref.sync import sync_to_async
        from django.db import connections

        def run() -> None:
            # Outside a request nobody else closes the connection of this thread when it is too old.
            try:
                write()
            finally:
                connections[self.using].close_if_unusable_or_obsolete()

        await sync_to_async(run)()

    def _reserve(self, reservation: Reservation, cap: int) -> None:
        from django.db import transaction

        from automate_llm.models import LLMBudgetDay

        days = LLMBudgetDay.objects.using(self.using)
        for _ in range(_TRIES):
            with transaction.atomic(using=self.using):
                if self._take(reservation, cap):
                    return
            row = days.filter(day=reservation.day).first()
            if row is None:
                # In a transaction of its own: MySQL locks the gap that the statement above found empty.
                days.bulk_create([LLMBudgetDay(day=reservation.day)], ignore_conflicts=True)
            elif row.reserved + row.spent + reservation.amount > cap:
                raise exceeded(reservation, row.reserved + row.spent, cap)
            # Else there is room: between the two statements somebody made the row, or settled a call.
        raise LLMError(
            f"The LLM budget cannot be reserved: others changed that of {reservation.day} at each of {_TRIES} tries.",
            retryable=True,
            context={"billed": False},
        )

    def _take(self, reservation: Reservation, cap: int) -> bool:
        from django.db.models import F

        from automate_llm.models import LLMBudgetDay, LLMCall

        room = cap - reservation.amount
        taken = (
            LLMBudgetDay.objects.using(self.using)
            .filter(day=reservation.day, reserved__lte=room - F("spent"))
            .update(reserved=F("reserved") + reservation.amount)
        )
        if not taken:
            return False
        LLMCall.objects.using(self.using).create(
            id=reservation.id,
            day=reservation.day,
            provider=reservation.provider,
            model=reservation.model[:200],
            prompt_hash=reservation.prompt_hash,
            reserved=reservation.amount,
            tenant=reservation.tenant[:200],
            run_id=reservation.run_id[:64],
            attempt=reservation.attempt,
        )
        return True

    def _settle(self, reservation: Reservation, settlement: Settlement) -> None:
        from django.db import transaction
        from django.db.models import F

        from automate_llm.models import LLMBudgetDay, LLMCall

        with transaction.atomic(using=self.using):
            settled = (
                LLMCall.objects.using(self.using)
                .filter(id=reservation.id, status=LLMCall.Status.RESERVED)
                .update(
                    status=LLMCall.Status.SUCCESS if settlement.succeeded else LLMCall.Status.FAILED,
                    cost=settlement.cost,
                    input_tokens=settlement.input_tokens,
                    output_tokens=settlement.output_tokens,
                    latency_ms=settlement.latency_ms,
                    error_code=settlement.error_code[:100],
                )
            )
            if settled:
                LLMBudgetDay.objects.using(self.using).filter(day=reservation.day).update(
                    reserved=F("reserved") - reservation.amount, spent=F("spent") + settlement.cost
                )

    def _durably(self, write: Callable[[], None]) -> None:
        from django.db import connections

        connection = connections[self.using]
        if connection.in_atomic_block and connection.vendor != "sqlite":
            _on_own_connection(write, self.using)
        else:
            write()


def _on_own_connection(write: Callable[[], None], using: str) -> None:
    """Run something in a thread, because Django has one connection per thread; its error is raised here."""
    from django.db import connections

    errors: list[BaseException] = []

    def run() -> None:
        try:
            write()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller gets it
            errors.append(error)
        finally:
            connections[using].close()

    thread = threading.Thread(target=run, name="automate-llm-ledger")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
