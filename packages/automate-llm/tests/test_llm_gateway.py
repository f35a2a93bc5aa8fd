"""Every way through the gateway: what is sent, what is reserved, and how each call is settled."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from automate_core import settings
from automate_core.errors import (
    BudgetExceeded,
    ContextTooLong,
    LLMError,
    NotRegisteredError,
    ProviderUnavailable,
    SecretNotFoundError,
    TransientError,
)
from automate_core.llm import ChatRequest, ChatResult, LLMProvider, Usage
from automate_core.redaction import forget, remember
from automate_core.registry import registry
from automate_core.testing.llm import FakeProvider, LLMProviderContract
from automate_llm import achat, chat, get_provider
from automate_llm.budget import Balance, MemoryLedger, Settlement, site_today
from automate_llm.gateway import MeteredProvider
from llm_server import Answer, LoopbackLLM

HELLO = [{"role": "user", "content": "one two three"}]
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


def configure(budget: str = "10.00", **llm: Any) -> None:
    prices = {"fake-1": {"input": "1", "output": "2"}}
    settings.configure(
        settings.parse({"POLICY": {"llm_budget_daily": budget}, "LLM": {"provider": "fake", "prices": prices, **llm}})
    )


@pytest.fixture(autouse=True)
def prices() -> None:
    configure()


def complete(provider: LLMProvider, way: str, **kwargs: Any) -> ChatResult:
    request = provider.request(HELLO, **kwargs)
    return provider.complete(request) if way == "sync" else asyncio.run(provider.acomplete(request))


def metered(*replies: Any) -> tuple[MeteredProvider, FakeProvider, MemoryLedger]:
    fake, ledger = FakeProvider(replies=replies), MemoryLedger()
    return MeteredProvider(fake, ledger), fake, ledger


class TestMetered(LLMProviderContract):
    supports_unavailable = True

    def make_provider(self) -> LLMProvider:
        return metered()[0]

    def make_unavailable(self) -> LLMProvider:
        return metered(ProviderUnavailable("gone"))[0]


@WAYS
def test_a_call_costs_what_it_used(way: str) -> None:
    provider, _, ledger = metered("four words of answer")
    result = complete(provider, way)
    assert result.usage == Usage(3, 4)
    assert result.cost_usd == Decimal("0.000011")
    assert ledger.balance(site_today()) == Balance(reserved=0, spent=11)


@WAYS
@pytest.mark.parametrize(
    ("outcome", "charged"),
    [
        (ProviderUnavailable("lost"), True),
        (ProviderUnavailable("busy", context={"billed": False}), False),
        (ContextTooLong("long", context={"billed": False}), False),
        (LLMError("who knows"), True),
        (SecretNotFoundError("no key"), False),
        (TransientError("a client of its own lost the answer"), True),
        (RuntimeError("a bug"), True),
        (ChatResult("no usage", "fake-1"), True),
    ],
)
def test_every_outcome_is_settled_and_what_is_uncertain_counts_in_full(way: str, outcome: Any, charged: bool) -> None:
    provider, _, ledger = metered(outcome)
    if isinstance(outcome, ChatResult):
        complete(provider, way, max_tokens=500)
    else:
        with pytest.raises(type(outcome)) as caught:
            complete(provider, way, max_tokens=500)
        assert caught.value is outcome
    balance = ledger.balance(site_today())
    assert balance.reserved == 0
    assert balance.spent >= 1000 if charged else balance.spent == 0


def test_an_interrupted_call_is_settled() -> None:
    provider, _, ledger = metered(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        provider.chat(HELLO, max_tokens=500)
    assert ledger.balance(site_today()).reserved == 0
    assert ledger.balance(site_today()).spent >= 1000


def test_the_reservation_holds_while_the_call_runs() -> None:
    ledger = MemoryLedger()

    def look(request: ChatRequest) -> ChatResult:
        assert ledger.balance(site_today()).reserved >= 2 * request.max_tokens
        return ChatResult("ok", request.model, Usage(1, 1))

    assert complete(MeteredProvider(FakeProvider(replies=[look]), ledger), "sync").text == "ok"


@WAYS
def test_a_call_that_could_pass_the_cap_is_not_made(way: str) -> None:
    configure(budget="0.001")
    provider, fake, ledger = metered()
    with pytest.raises(BudgetExceeded, match="llm_budget_daily"):
        complete(provider, way, max_tokens=500)
    assert not fake.calls
    assert ledger.balance(site_today()) == Balance()
    assert complete(provider, way, max_tokens=100).text == HELLO[0]["content"]


def test_a_model_without_a_price_is_not_called() -> None:
    provider, fake, _ = metered()
    with pytest.raises(LLMError, match=r"LLM\.prices\['fake-2'\]"):
        provider.chat(HELLO, model="fake-2")
    assert not fake.calls


def test_a_call_dearer_than_its_reservation_counts_as_it_cost_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    provider, _, ledger = metered(ChatResult("x", "fake-1", Usage(5_000, 10)))
    with caplog.at_level(logging.WARNING, "automate.llm"):
        provider.chat(HELLO, max_tokens=10)
    assert ledger.balance(site_today()).spent == 5_020
    assert "more than was reserved" in caplog.text


@pytest.mark.parametrize("moment", ["reserving", "calling", "settling"])
def test_a_cancelled_call_is_settled(moment: str) -> None:
    """Cancelled while it reserves it costs nothing, while it calls everything, while it settles what it used."""
    reached = {name: asyncio.Event() for name in ("reserving", "calling", "settling")}

    class Slow(MemoryLedger):
        async def areserve(self, reservation: Any, cap: int) -> None:
            reached["reserving"].set()
            await asyncio.sleep(0.05)
            self.reserve(reservation, cap)

        async def asettle(self, reservation: Any, settlement: Settlement) -> None:
            reached["settling"].set()
            await asyncio.sleep(0.05)
            self.settle(reservation, settlement)

    class Provider(FakeProvider):
        async def acomplete(self, request: ChatRequest) -> ChatResult:
            reached["calling"].set()
            await asyncio.sleep(0.05)
            return self.complete(request)

    ledger = Slow()

    async def cancel() -> None:
        provider = MeteredProvider(Provider(), ledger)
        task = asyncio.ensure_future(provider.acomplete(provider.request(HELLO, max_tokens=500)))
        await reached[moment].wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    balance = ledger.balance(site_today())
    assert balance.reserved == 0
    assert (balance.spent == 0) == (moment == "reserving")
    assert (balance.spent >= 1000) == (moment == "calling")


@WAYS
def test_an_answer_that_is_paid_for_is_delivered_though_the_ledger_fails(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemoryLedger):
        def settle(self, reservation: Any, settlement: Settlement) -> None:
            raise OSError("the database is gone")

    ledger = Broken()
    assert complete(MeteredProvider(FakeProvider(replies=["paid"]), ledger), way).text == "paid"
    assert ledger.balance(site_today()).reserved > 0
    assert "counts as reserved" in caplog.text


@WAYS
def test_without_a_reservation_there_is_no_call(way: str) -> None:
    class Broken(MemoryLedger):
        def reserve(self, reservation: Any, cap: int) -> None:
            raise OSError("the database is gone")

    fake = FakeProvider()
    with pytest.raises(OSError, match="gone"):
        complete(MeteredProvider(fake, Broken()), way)
    assert not fake.calls


def test_secrets_do_not_leave() -> None:
    secret = "correct-horse-battery"
    remember(secret)
    try:
        provider, fake, _ = metered()
        provider.complete(
            provider.request(
                [{"role": "user", "content": f"Log in with {secret}, please."}], seed={secret: secret}, stop=secret
            )
        )
    finally:
        forget(secret)
    assert secret not in repr(fake.calls)
    assert fake.calls[0].messages[0].content.endswith(", please.")


def test_prompts_stay_as_they_are_where_the_settings_say_so() -> None:
    configure(redact_prompts=False)
    secret = "correct-horse-battery"
    remember(secret)
    try:
        provider, fake, _ = metered()
        provider.chat([{"role": "user", "content": f"Log in with {secret}, please."}])
    finally:
        forget(secret)
    assert fake.calls[0].messages[0].content == f"Log in with {secret}, please."


def test_no_secret_reaches_a_vendor(loopback: LoopbackLLM) -> None:
    secret = "correct-horse-battery"
    settings.configure(settings.parse(loopback.settings()))
    remember(secret)
    try:
        for name in ("openai", "anthropic"):
            prompt = f"Decode Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5, {secret} and password=hunter2, please."
            get_provider(name).chat([{"role": "system", "content": secret}, {"role": "user", "content": prompt}])
    finally:
        forget(secret)
    sent = [json.dumps(request) for request in loopback.requests]
    assert len(sent) == 2
    for text in sent:
        assert "Decode [REDACTED], [REDACTED] and password=[REDACTED], please." in text
        assert not any(hidden in text for hidden in (secret, "hunter2", "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"))


def test_the_log_has_the_cost_and_no_prompt(caplog: pytest.LogCaptureFixture) -> None:
    provider, _, _ = metered("a quiet answer")
    with caplog.at_level(logging.DEBUG, "automate.llm"):
        provider.chat(HELLO)
    assert "$0.000009" in caplog.text
    assert "three" not in caplog.text
    assert "quiet" not in caplog.text


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    provider = FakeProvider()
    registry.add("llm_providers", "fake", lambda config: provider)
    yield provider
    registry.remove("llm_providers", "fake")


def test_chat_and_its_twin_use_the_provider_of_the_settings(fake: FakeProvider) -> None:
    assert chat(HELLO, max_tokens=7) == "one two three"
    assert asyncio.run(achat(messages=HELLO, provider="fake", temperature=0.9)) == "one two three"
    assert get_provider("fake").chat(HELLO, model="fake-1") == "one two three"
    assert [(call.max_tokens, call.temperature) for call in fake.calls] == [(7, None), (1024, 0.9), (1024, None)]


def test_the_database_records_each_call_without_its_text(fake: FakeProvider) -> None:
    from automate_llm.models import LLMCall

    provider = get_provider("fake")
    provider.complete(provider.request(HELLO, tenant="acme", run_id="run-1", attempt=2))
    call = LLMCall.objects.get(run_id="run-1")
    assert (call.status, call.provider, call.model, call.input_tokens, call.output_tokens, call.cost) == (
        "SUCCESS", "fake", "fake-1", 3, 3, 9,
    )  # fmt: skip
    assert (call.tenant, call.attempt, call.cost_usd) == ("acme", 2, Decimal("0.000009"))
    assert "three" not in repr(vars(call))


def test_an_unknown_provider_names_those_that_exist() -> None:
    for ask in (lambda: chat(HELLO, provider="opnai"), lambda: get_provider("opnai")):
        with pytest.raises(NotRegisteredError, match="'openai'"):
            ask()


def test_threads_share_one_provider_and_one_budget(loopback: LoopbackLLM) -> None:
    """Real SDK, real HTTP, real database: ten threads, money for four calls."""
    raw = loopback.settings(prices={"gpt-4": {"input": "0", "output": "1"}})
    settings.configure(settings.parse({**raw, "POLICY": {"llm_budget_daily": "0.000412"}}))
    from automate_llm.models import LLMBudgetDay
    from django.db import connections

    LLMBudgetDay.objects.all().delete()
    for _ in range(10):
        loopback.answers.append(
            Answer(503, {"error": {"message": "busy"}})
            if not loopback.answers
            else Answer(200, loopback.answer("/v1/chat/completions", {"messages": HELLO, "model": "gpt-4"}).body)
        )
    barrier, outcomes = threading.Barrier(10), []

    def work() -> None:
        barrier.wait()
        try:
            outcomes.append(chat(HELLO, model="gpt-4", max_tokens=100))
        except LLMError as error:
            outcomes.append(type(error).__name__)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = outcomes.count("one two three")
    row = LLMBudgetDay.objects.get()
    assert outcomes.count("ProviderUnavailable") == 1
    assert answered + outcomes.count("BudgetExceeded") == 9
    assert answered >= 3
    assert (row.reserved, row.spent) == (0, 3 * answered)
    LLMBudgetDay.objects.all().delete()
