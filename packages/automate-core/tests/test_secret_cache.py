"""What the resolver keeps of the answers of backends, and for how long."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from automate_core import redaction, secrets
from automate_core import settings as settings_module
from automate_core.errors import SecretAccessDenied, SecretBackendUnavailable, SecretNotFoundError
from automate_core.redaction import REDACTED, redact_text
from automate_core.secrets import Resolver, SecretBackend
from automate_core.settings import SecretSettings, Settings
from automate_core.testing.secrets import MemoryBackend
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

KEY = "$secret:API_KEY"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Changing(SecretBackend):
    """Answers what it was last told to, and counts how often it was asked."""

    supports_tenants = supports_fields = supports_versions = True

    def __init__(self, answer: Any = "the first value") -> None:
        super().__init__(SecretSettings())
        self.answer = answer
        self.asked = 0

    def get(self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None) -> str:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        value: str = self.answer
        return value


class Kept:
    """A resolver with a clock of its own over a backend that changes."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.backend = Changing()
        config = SecretSettings(**{"cache_seconds": 60, "cache_missing_seconds": 5, **settings})
        self.resolver = Resolver(config=config, backends={"secret": self.backend}, clock=self.clock)

    def value(self, ref: str = KEY, **options: Any) -> str:
        return self.resolver.resolve(ref, **options)

    def answers(self, answer: Any, *, after: float) -> None:
        self.backend.answer = answer
        self.clock.now += after


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    yield
    redaction._live.clear()


# -- how long ---------------------------------------------------------------------------------------------------------


def test_a_value_is_kept_and_a_changed_one_is_seen_when_its_time_is_over() -> None:
    kept = Kept()
    kept.value()
    kept.answers("the second value", after=59.9)
    assert kept.value() == "the first value"
    assert asyncio.run(kept.resolver.aresolve(KEY)) == "the first value"
    assert kept.backend.asked == 1
    kept.clock.now += 0.1
    assert kept.value() == "the second value"
    assert asyncio.run(kept.resolver.aresolve(KEY)) == "the second value"
    assert kept.backend.asked == 2


def test_the_time_counts_from_the_question_and_not_from_a_late_answer() -> None:
    kept = Kept()
    slow = kept.backend.get

    def get(*arguments: Any, **options: Any) -> str:
        kept.clock.now += 40
        return slow(*arguments, **options)

    kept.backend.get = get  # type: ignore[method-assign]  # one that takes 40 s
    kept.value()
    kept.answers("the second value", after=20)
    assert kept.value() == "the second value"


def test_without_a_time_the_backend_is_always_asked() -> None:
    kept = Kept(cache_seconds=0, cache_missing_seconds=0)
    kept.value()
    kept.answers("the second value", after=0)
    assert kept.value() == "the second value"
    kept.answers(SecretNotFoundError("none"), after=0)
    for _ in range(2):
        with pytest.raises(SecretNotFoundError):
            kept.value()
    assert kept.backend.asked == 4


def test_what_is_missing_is_missing_for_a_short_time() -> None:
    kept = Kept()
    kept.backend.answer = SecretNotFoundError("It was not put there.", context={"path": "API_KEY"})
    for _ in range(3):
        with pytest.raises(SecretNotFoundError, match=r"^\$secret:API_KEY: It was not put there\.$") as raised:
            kept.value()
        assert raised.value.context == {"path": "API_KEY", "reference": KEY}
        kept.backend.answer = "put there meanwhile"
    assert kept.backend.asked == 1
    kept.clock.now += 5
    assert kept.value() == "put there meanwhile"


@pytest.mark.parametrize("failure", [SecretBackendUnavailable("down"), SecretAccessDenied("no"), OSError("broken")])
def test_no_other_failure_is_kept(failure: Exception) -> None:
    kept = Kept()
    kept.backend.answer = failure
    with pytest.raises((SecretBackendUnavailable, SecretAccessDenied)):
        kept.value()
    kept.answers("back again", after=0)
    assert kept.value() == "back again"


def test_each_field_version_and_tenant_is_a_question_of_its_own() -> None:
    kept = Kept()
    for ref, tenant in ((KEY, None), (KEY, "acme"), (f"{KEY}#f", None), (f"{KEY}@1", None), (f"{KEY}#f@1", None)):
        kept.backend.answer = f"the value of {ref} for {tenant}"
        kept.value(ref, tenant=tenant)
    assert kept.value(KEY) == f"the value of {KEY} for None"
    assert kept.value(KEY, tenant="acme") == f"the value of {KEY} for acme"
    assert kept.backend.asked == 5


def test_no_more_answers_are_kept_than_the_settings_say() -> None:
    kept = Kept(cache_entries=2)
    for path in ("A", "B", "A", "C", "A"):
        kept.value(f"$secret:{path}")
    assert kept.backend.asked == 3
    kept.value("$secret:B")
    assert kept.backend.asked == 4


def test_a_backend_whose_answers_cost_nothing_is_always_asked() -> None:
    kept = Kept()
    kept.backend.cacheable = lambda: False  # type: ignore[method-assign]  # as of the backend env
    kept.value()
    kept.answers("the second value", after=0)
    assert kept.value() == asyncio.run(kept.resolver.aresolve(KEY)) == "the second value"


def test_other_settings_begin_anew() -> None:
    backend = Changing()
    resolver = Resolver(backends={"secret": backend})
    try:
        for prefix in ("ONE_", "ONE_", "TWO_"):
            settings_module.configure(Settings(secrets=SecretSettings(prefix=prefix)))
            resolver.resolve(KEY)
    finally:
        settings_module.configure(None)
    assert backend.asked == 2


def test_a_kept_value_is_hidden_again() -> None:
    kept = Kept()
    redaction.forget(kept.value())
    assert redact_text("it is the first value") == "it is the first value"
    kept.value()
    assert redact_text("it is the first value") == f"it is {REDACTED}"
    assert kept.backend.asked == 1


def test_what_is_kept_is_not_shown() -> None:
    kept = Kept()
    kept.value()
    cache = kept.resolver._in_force().cache
    assert "the first value" not in f"{cache!r} {vars(cache)}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(cache)


# -- invalidation -----------------------------------------------------------------------------------------------------


def test_an_invalidated_secret_is_asked_for_again() -> None:
    kept = Kept()
    for ref in (KEY, f"{KEY}@1", "$secret:OTHER"):
        kept.value(ref)
    kept.answers("the second value", after=0)
    kept.resolver.invalidate(KEY)
    assert kept.value() == kept.value(f"{KEY}@1") == "the second value"
    assert kept.value("$secret:OTHER") == "the first value"
    kept.resolver.invalidate()
    assert kept.value("$secret:OTHER") == "the second value"


def test_whoever_writes_invalidates_in_every_resolver() -> None:
    one, other = Kept(), Kept()
    for kept in (one, other):
        kept.value()
        kept.value("$secret:OTHER")
        kept.answers("the second value", after=0)
    secrets.invalidate("API_KEY")
    for kept in (one, other):
        assert kept.value() == "the second value"
        assert kept.value("$secret:OTHER") == "the first value"
    secrets.invalidate()
    assert one.value("$secret:OTHER") == "the second value"


def test_an_answer_that_was_on_its_way_when_it_was_invalidated_is_not_kept() -> None:
    kept = Kept()
    get = kept.backend.get

    def overtaken(*arguments: Any, **options: Any) -> str:
        value = get(*arguments, **options)
        kept.backend.answer = "the second value"
        kept.resolver.invalidate(KEY)
        return value

    kept.backend.get = overtaken  # type: ignore[method-assign]  # the secret changes while it is read
    assert kept.value() == "the first value"
    kept.backend.get = get  # type: ignore[method-assign]  # and now it does not
    assert kept.value() == "the second value"


# -- outages ----------------------------------------------------------------------------------------------------------


def test_an_old_value_stands_in_for_an_outage_only_when_asked_for() -> None:
    kept = Kept()
    kept.value()
    kept.answers(SecretBackendUnavailable("sealed"), after=60)
    with pytest.raises(SecretBackendUnavailable, match="sealed"):
        kept.value()


def test_an_old_value_stands_in_for_an_outage_up_to_its_age(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(cache_stale_seconds=600)
    kept.value()
    kept.answers(ConnectionError("refused"), after=60)
    with caplog.at_level(logging.WARNING, "automate.secrets"):
        assert kept.value() == asyncio.run(kept.resolver.aresolve(KEY)) == "the first value"
    assert [record.getMessage() for record in caplog.records] == [
        "A value that is 60 s old is used in the place of an answer: "
        "$secret:API_KEY: the secret backend failed with ConnectionError."
    ]
    assert kept.backend.asked == 2
    kept.clock.now += 5  # the outage goes on: the backend is asked from time to time
    kept.value()
    assert kept.backend.asked == 3
    kept.answers("back again", after=5)
    assert kept.value() == "back again"
    kept.answers(ConnectionError("refused"), after=660)
    with pytest.raises(SecretBackendUnavailable):
        kept.value()


@pytest.mark.parametrize("refusal", [SecretNotFoundError("deleted"), SecretAccessDenied("revoked")])
def test_a_value_that_was_taken_away_does_not_come_back_with_an_outage(refusal: Exception) -> None:
    kept = Kept(cache_stale_seconds=600, cache_missing_seconds=0)
    kept.value()
    kept.answers(refusal, after=60)
    with pytest.raises(type(refusal)):
        kept.value()
    kept.answers(SecretBackendUnavailable("sealed"), after=0)
    with pytest.raises(SecretBackendUnavailable, match="sealed"):
        kept.value()


@pytest.mark.parametrize("where", ["while it is made", "while it is asked"])
def test_a_backend_that_hangs_keeps_nobody_from_another(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    hangs, released = threading.Event(), threading.Event()

    class Hanging(MemoryBackend):
        def __init__(self, config: SecretSettings | None = None) -> None:
            super().__init__(config, {"kv/a": "late"})
            self.hang("while it is made")

        def hang(self, here: str) -> None:
            if where == here:
                hangs.set()
                assert released.wait(60)

        def get(self, path: str, **options: str | None) -> str:
            self.hang("while it is asked")
            return super().get(path, **options)

    find_class = "automate_core._secret_resolver.find_class"
    monkeypatch.setattr(find_class, lambda name, registry: Hanging if name == "vault" else MemoryBackend)
    resolver = Resolver(config=SecretSettings(backend="db"))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(resolver.resolve, "$vault:kv/a")
        try:
            assert hangs.wait(60)
            for other in ("$env:A", "$secret:B", "$aws:c"):
                with pytest.raises(SecretNotFoundError):
                    resolver.resolve(other)
        finally:
            released.set()
        assert late.result(60) == "late"


# -- any history ------------------------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("change"), st.sampled_from(["value", "missing", "down"])),
    st.tuples(st.just("invalidate"), st.none()),
    st.tuples(st.just("resolve"), st.none()),
)


@hypothesis_settings(deadline=None)
@given(st.lists(STEPS, max_size=40), st.sampled_from([0, 30]))
def test_what_is_resolved_was_true_no_longer_ago_than_the_settings_allow(steps: list[Any], stale: float) -> None:
    kept = Kept(cache_seconds=20, cache_missing_seconds=5, cache_stale_seconds=stale)
    truths: list[tuple[float, Any]] = [(kept.clock.now, "value 0 of the secret")]
    kept.backend.answer = truths[0][1]
    forgotten_at = kept.clock.now
    for number, (what, argument) in enumerate(steps, start=1):
        if what == "wait":
            kept.clock.now += argument
        elif what == "change":
            kept.backend.answer = {
                "value": f"value {number} of the secret",
                "missing": SecretNotFoundError("none"),
                "down": SecretBackendUnavailable("down"),
            }[argument]
            truths.append((kept.clock.now, kept.backend.answer))
        elif what == "invalidate":
            kept.resolver.invalidate()
            forgotten_at = kept.clock.now
        else:
            try:
                found: Any = kept.value()
                oldest = kept.clock.now - 20 - (stale if isinstance(kept.backend.answer, Exception) else 0)
            except SecretNotFoundError:
                found, oldest = SecretNotFoundError, kept.clock.now - 5
            except SecretBackendUnavailable:
                found, oldest = SecretBackendUnavailable, kept.clock.now
            began = [at for at, _ in truths]
            ended = [*began[1:], float("inf")]
            times = [
                (at, end)
                for (at, truth), end in zip(truths, ended, strict=True)
                if truth == found or type(truth) is found
            ]
            assert any(end >= max(oldest, forgotten_at) for _, end in times)
