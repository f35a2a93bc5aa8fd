"""The budget is never passed: in memory, on every database that is there, by threads and processes at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from automate_core import settings
from automate_core.errors import BudgetExceeded, LLMError
from automate_core.llm import ChatRequest, Message
from automate_core.testing.databases import ALIASES, require_database
from automate_llm.budget import (
    Balance,
    Ledger,
    MemoryLedger,
    Reservation,
    Settlement,
    current_ledger,
    daily_cap,
    reservation_for,
    site_today,
)
from automate_llm.ledger import DjangoLedger
from automate_llm.prices import PRICES, Price, price_of
from django.db import connections, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

DAY = date(2026, 11, 21)


def reservation(amount: int, day: date = DAY) -> Reservation:
    return Reservation(uuid4(), day, amount, "fake", "fake-1", "0" * 64)


@pytest.fixture(params=["memory", *ALIASES])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    from automate_llm.models import LLMBudgetDay, LLMCall

    alias = require_database(request.param)
    yield DjangoLedger(alias)
    LLMCall.objects.using(alias).all().delete()
    LLMBudgetDay.objects.using(alias).all().delete()


def in_threads(number: int, work: Callable[[int], Any]) -> list[Any]:
    """Run something in threads that begin together, each with its own database connection."""
    barrier = threading.Barrier(number)

    def run(index: int) -> Any:
        try:
            barrier.wait()
            return work(index)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


def test_threads_never_pass_the_cap(ledger: Ledger) -> None:
    """Eight threads, none of them first, want 24 times 7 of a cap of 100: 14 calls fit, whatever the order."""

    def spend(_: int) -> int:
        made = 0
        for _ in range(3):
            call = reservation(7)
            try:
                ledger.reserve(call, 100)
            except BudgetExceeded:
                continue
            assert ledger.balance(DAY).used <= 100
            ledger.settle(call, Settlement(7, succeeded=True))
            made += 1
        return made

    assert sum(in_threads(8, spend)) == 14
    assert ledger.balance(DAY) == Balance(reserved=0, spent=98)


@given(
    cap=st.integers(0, 100),
    calls=st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["settle", "crash", "twice"]), st.integers(0, 60))),
)
def test_whatever_happens_the_balance_is_the_sum_of_what_was_let_through(
    cap: int, calls: list[tuple[int, str, int]]
) -> None:
    ledger = MemoryLedger()
    spent = reserved = 0
    for amount, fate, cost in calls:
        call, cost = reservation(amount), min(cost, amount)
        if spent + reserved + amount > cap:
            with pytest.raises(BudgetExceeded):
                ledger.reserve(call, cap)
            fate = "refused"
        else:
            ledger.reserve(call, cap)
        if fate == "crash":
            reserved += amount
            continue
        for _ in range(2 if fate == "twice" else 1):
            ledger.settle(call, Settlement(cost, succeeded=True))
        spent += cost if fate != "refused" else 0
        assert ledger.balance(DAY) == Balance(reserved, spent)
        assert spent + reserved <= cap


def test_a_call_without_an_outcome_goes_on_counting(ledger: Ledger) -> None:
    ledger.reserve(reservation(60), 100)
    with pytest.raises(BudgetExceeded) as caught:
        ledger.reserve(reservation(41), 100)
    assert caught.value.context["used_usd"] == str(Decimal(60) / 1_000_000)
    assert not caught.value.retryable
    ledger.reserve(reservation(40), 100)
    assert ledger.balance(DAY) == Balance(reserved=100, spent=0)


def test_each_day_has_its_own_budget_and_a_call_is_settled_on_the_day_it_began(ledger: Ledger) -> None:
    yesterday, today = reservation(100, date(2026, 11, 20)), reservation(100)
    ledger.reserve(yesterday, 100)
    ledger.reserve(today, 100)
    ledger.settle(yesterday, Settlement(30, succeeded=True))
    assert ledger.balance(date(2026, 11, 20)) == Balance(0, 30)
    assert ledger.balance(DAY) == Balance(100, 0)


def test_a_second_settlement_changes_nothing(ledger: Ledger) -> None:
    call = reservation(50)
    ledger.settle(call, Settlement(9, succeeded=True))
    assert ledger.balance(DAY) == Balance(0, 0)
    ledger.reserve(call, 100)
    for cost in (20, 30):
        ledger.settle(call, Settlement(cost, succeeded=True))
    assert ledger.balance(DAY) == Balance(0, 20)


def test_asynchronous_twins(ledger: Ledger) -> None:
    async def spend() -> None:
        call = reservation(50)
        await ledger.areserve(call, 50)
        with pytest.raises(BudgetExceeded):
            await ledger.areserve(reservation(1), 50)
        await ledger.asettle(call, Settlement(20, succeeded=True))

    asyncio.run(spend())
    assert ledger.balance(DAY) == Balance(0, 20)


@pytest.mark.parametrize("alias", ALIASES)
def test_a_database_that_refuses_is_a_typed_error(alias: str) -> None:
    """A lock that is not given in time passes; a table that is not there does not."""
    from django.db import OperationalError, ProgrammingError

    ledger = DjangoLedger(require_database(alias))
    for kind, retryable in ((OperationalError, True), (ProgrammingError, False)):

        def refuse(*_: Any, kind: type[Exception] = kind) -> Any:
            raise kind("no")

        with connections[alias].execute_wrapper(refuse), pytest.raises(LLMError, match="automate_llm") as caught:
            ledger.reserve(reservation(1), 100)
        assert caught.value.retryable is retryable
        assert caught.value.context["billed"] is False


class Rollback(Exception):
    pass


@pytest.mark.parametrize("alias", ["postgres", "mariadb"])
def test_a_rollback_of_the_caller_does_not_give_money_back(alias: str) -> None:
    from automate_llm.models import LLMBudgetDay, LLMCall

    ledger = DjangoLedger(require_database(alias))
    other = date(2026, 1, 1)
    call = reservation(50, other)

    @transaction.atomic(using=alias)
    def caller() -> None:
        ledger.reserve(call, 100)
        seen = in_threads(1, lambda _: ledger.balance(other))
        assert seen == [Balance(50, 0)], "others must see the reservation before the caller commits"
        with pytest.raises(BudgetExceeded):
            ledger.reserve(reservation(51, other), 100)
        ledger.settle(call, Settlement(20, succeeded=True))
        raise Rollback

    with pytest.raises(Rollback):
        caller()
    assert ledger.balance(other) == Balance(0, 20)
    assert LLMCall.objects.using(alias).get(id=call.id).cost == 20
    LLMCall.objects.using(alias).all().delete()
    LLMBudgetDay.objects.using(alias).all().delete()


def test_the_day_is_the_sites_and_not_the_users() -> None:
    """The site is at UTC+14 and the user at UTC-11: whatever the hour, their days differ."""
    with timezone.override("Pacific/Pago_Pago"):
        assert site_today() == datetime.now(timezone.get_default_timezone()).date()
        assert site_today() != timezone.localdate()


def test_the_database_keeps_the_budget_where_the_app_is_installed() -> None:
    assert isinstance(current_ledger(), DjangoLedger)


@pytest.mark.parametrize(("setting", "micro"), [(10.1, 10_100_000), ("0.0000019", 1), (0, 0)])
def test_the_cap_is_read_through_its_text_and_rounded_down(setting: Any, micro: int) -> None:
    settings.configure(settings.parse({"POLICY": {"llm_budget_daily": setting}}))
    assert daily_cap() == micro


def request_of(text: str, max_tokens: int = 100, **options: Any) -> ChatRequest:
    return ChatRequest((Message("user", text),), "m", max_tokens, 10, options=options)


def test_a_reservation_over_estimates_and_holds_no_text() -> None:
    price = Price(Decimal("2.50"), Decimal("10"))
    text = "The capital of France, 東京, Москва. " * 100
    call = reservation_for("openai", request_of(text), price)
    assert call.amount >= price.cost(len(text.encode()), 100), "a token is a byte at least"
    assert "capital" not in repr(call)
    assert call.prompt_hash == reservation_for("openai", request_of(text, 7), price).prompt_hash
    assert call.prompt_hash != reservation_for("openai", request_of(text + "."), price).prompt_hash
    schema = {"type": "json_schema", "json_schema": {"name": "x" * 1000}}
    assert reservation_for("openai", request_of(text, response_format=schema), price).amount > call.amount + 1000


def test_costs_are_exact_and_rounded_up() -> None:
    price = Price(Decimal("0.15"), Decimal("0.60"), 1000, Decimal("0.30"), Decimal("0.90"))
    assert price.cost(0, 0) == 0
    assert price.cost(1, 0) == 1
    assert price.cost(1000, 10) == 156
    assert price.cost(1001, 10) == 310, "beyond the border the long rates hold for the whole call"


def test_prices_come_from_the_settings_then_the_table_then_the_family() -> None:
    assert price_of("gpt-4") == Price(Decimal(30), Decimal(60))
    assert price_of("claude-haiku-4-5-20251001") == PRICES["claude-haiku-4-5"]
    assert price_of("gpt-4o-2024-08-06") == PRICES["gpt-4o"]
    assert price_of("gpt-4o-2024-05-13") != PRICES["gpt-4o"]
    settings.configure(settings.parse({"LLM": {"prices": {"gpt-4": {"input": 0.1, "output": "0.2"}}}}))
    assert price_of("gpt-4") == Price(Decimal("0.1"), Decimal("0.2"))
    with pytest.raises(LLMError, match=r"LLM\.prices\['my-llama'\]"):
        price_of("my-llama")


def test_no_price_of_the_table_is_free_and_long_calls_cost_more() -> None:
    for name, price in PRICES.items():
        assert 0 < price.input < price.output, name
        assert not price.long_from or (price.long_input > price.input and price.long_output > price.output), name


def test_the_migration_is_complete() -> None:
    from django.core.management import call_command

    call_command("makemigrations", "automate_llm", check=True, dry_run=True, verbosity=0)


def test_the_admin_shows_and_changes_nothing() -> None:
    from automate_llm import admin as ours
    from automate_llm.models import LLMBudgetDay, LLMCall
    from django.contrib import admin
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    for model, made in ((LLMBudgetDay, ours.LLMBudgetDayAdmin), (LLMCall, ours.LLMCallAdmin)):
        page = admin.site.get_model_admin(model)
        assert type(page) is made
        assert not page.has_add_permission(request)
        assert not page.has_change_permission(request)
        assert not page.has_delete_permission(request)
        assert not page.check()
    calls = admin.site.get_model_admin(LLMCall)
    assert all(calls.lookup_allowed(lookup, "x", request) for lookup in ("status__exact", "provider", "pk"))
    assert calls.lookup_allowed("day__gte", "2026-05-03", request)
    assert not any(
        calls.lookup_allowed(lookup, "x", request)
        for lookup in ("prompt_hash__startswith", "tenant", "provider__startswith")
    )
