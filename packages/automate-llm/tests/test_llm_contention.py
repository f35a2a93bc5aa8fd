"""Many ask for the same day's budget at once: what fits is let through, and nothing else than the budget refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from automate_core.errors import BudgetExceeded, LLMError
from automate_core.testing.databases import ALIASES, NAMES, require_database
from automate_llm.budget import Balance, Ledger, MemoryLedger, Reservation, Settlement
from automate_llm.ledger import DjangoLedger
from django.db import connections, transaction

DAY = date(2026, 11, 21)
CONTENDER = Path(__file__).with_name("budget_contender.py")


def reservation(amount: int = 1, day: date = DAY) -> Reservation:
    return Reservation(uuid4(), day, amount, "fake", "fake-1", "0" * 64)


@pytest.fixture(params=["memory", *ALIASES])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    alias = require_database(request.param)
    empty(alias)  # other tests leave what they spent today
    yield DjangoLedger(alias)
    empty(alias)


@pytest.fixture(params=ALIASES)
def alias(request: pytest.FixtureRequest) -> Iterator[str]:
    alias = require_database(request.param)
    empty(alias)
    yield alias
    empty(alias)


def empty(alias: str) -> None:
    from automate_llm.models import LLMBudgetDay, LLMCall

    LLMCall.objects.using(alias).all().delete()
    LLMBudgetDay.objects.using(alias).all().delete()


def rows(alias: str) -> tuple[int, int]:
    """How many calls and days there are."""
    from automate_llm.models import LLMBudgetDay, LLMCall

    return LLMCall.objects.using(alias).count(), LLMBudgetDay.objects.using(alias).count()


def together(number: int, work: Callable[[], None], alias: str = "") -> Counter[str]:
    """Do something in threads that begin together, each with its own connection; the outcomes by name."""
    begin = threading.Barrier(number)

    def run(_: int) -> str:
        if alias:
            connections[alias].ensure_connection()
        begin.wait()
        try:
            work()
        except BudgetExceeded:
            return "refused"
        except Exception as error:  # whatever it is, the test shows it
            return repr(error)
        finally:
            connections.close_all()
        return "made"

    with ThreadPoolExecutor(number) as pool:
        return Counter(pool.map(run, range(number)))


def test_the_first_calls_of_a_day_are_let_through_together(ledger: Ledger) -> None:
    """The row of the day is made by one of them, while the others have found none."""
    for number in range(10):
        day = DAY + timedelta(days=number)
        assert together(12, lambda day=day: ledger.reserve(reservation(1, day), 12)) == {"made": 12}  # type: ignore[misc]
        assert ledger.balance(day) == Balance(reserved=12)


def test_where_not_all_fit_as_many_are_let_through_as_fit(ledger: Ledger) -> None:
    for number in range(5):
        day = DAY + timedelta(days=number)
        outcomes = together(12, lambda day=day: ledger.reserve(reservation(10, day), 79))  # type: ignore[misc]
        assert outcomes == {"made": 7, "refused": 5}
        assert ledger.balance(day) == Balance(reserved=70)


@pytest.mark.parametrize("alias", ["postgres", "mariadb"], indirect=True)
def test_callers_in_transactions_of_their_own_are_let_through_together(alias: str) -> None:
    ledger = DjangoLedger(alias)

    def call() -> None:
        made = reservation(10)
        with transaction.atomic(using=alias):
            ledger.reserve(made, 60)
            ledger.settle(made, Settlement(10, succeeded=True))

    assert together(8, call, alias) == {"made": 6, "refused": 2}
    assert ledger.balance(DAY) == Balance(spent=60)


def test_the_statements_of_a_call(alias: str) -> None:
    """A conditional UPDATE reserves; only the first call of a day, and a refused one, read the day."""
    ledger, statements = DjangoLedger(alias), []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.split()[0] in ("SELECT", "UPDATE", "INSERT", "DELETE"):
            statements.append(sql.split()[0])
        return execute(sql, params, many, context)

    def counted(work: Callable[[], None]) -> list[str]:
        statements.clear()
        with connections[alias].execute_wrapper(record):
            work()
        return statements.copy()

    first, second = reservation(), reservation()
    assert counted(lambda: ledger.reserve(first, 2)) == ["UPDATE", "SELECT", "INSERT", "UPDATE", "INSERT"]
    assert counted(lambda: ledger.reserve(second, 2)) == ["UPDATE", "INSERT"]
    assert counted(lambda: ledger.settle(first, Settlement(1, succeeded=True))) == ["UPDATE", "UPDATE"]
    assert counted(lambda: ledger.settle(first, Settlement(1, succeeded=True))) == ["UPDATE"]

    def refused() -> None:
        with pytest.raises(BudgetExceeded):
            ledger.reserve(reservation(), 2)

    assert counted(refused) == ["UPDATE", "SELECT"]


def test_a_reservation_whose_day_others_always_change_is_an_error_worth_a_retry(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, tries = DjangoLedger(alias), []
    monkeypatch.setattr(ledger, "_take", lambda *_: tries.append(1))
    with pytest.raises(LLMError, match="others changed") as caught:
        ledger.reserve(reservation(), 2)
    assert caught.value.retryable
    assert caught.value.context["billed"] is False
    assert len(tries) == 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alias", "options"),
    [*((alias, None) for alias in ALIASES), ("default", {})],
    ids=[*NAMES, "sqlite as Django comes"],
    indirect=["alias"],
)
def test_processes_never_pass_the_cap_and_lose_no_call(alias: str, options: dict[str, Any] | None) -> None:
    """Three processes of four threads want 60 calls, and 51 of them fit."""
    kind = NAMES[ALIASES.index(alias)]
    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    database = {name: value for name, value in connections[alias].settings_dict.items() if name in names}
    if options is not None:
        database["OPTIONS"] = options
    given: dict[str, Any] = {
        "kind": kind,
        "database": {**database, "NAME": str(database["NAME"])},
        "day": DAY.isoformat(),
    }
    given |= {"cap": 359, "amount": 7, "threads": 4, "rounds": 5}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    processes = [
        subprocess.Popen(
            [sys.executable, str(CONTENDER), json.dumps(given)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )
        for _ in range(3)
    ]  # fmt: skip
    outcomes: Counter[str] = Counter()
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        for process in processes:
            outcomes.update(json.loads(process.communicate(timeout=120)[0]))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert outcomes == {"made": 51, "refused": 9}
    assert DjangoLedger(alias).balance(DAY) == Balance(spent=357)
    assert rows(alias) == (51, 1)
