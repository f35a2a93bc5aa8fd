from __future__ import annotations

import math
from typing import Any

import pytest
from automate_core.errors import ConfigurationError, PermanentError, RateLimited, StepTimeout, TransientError
from automate_core.retry import MAX_RETRY_AFTER, RetryPolicy
from automate_core.settings import ExecutionSettings
from hypothesis import given
from hypothesis import strategies as st

seconds = st.floats(0, 1e6)
policies = st.builds(
    RetryPolicy, initial=seconds, factor=st.floats(1, 1e6), max=seconds, jitter=st.booleans(), max_attempts=st.just(5)
)
chances = st.floats(0, 1, exclude_max=True)


def test_the_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(initial=1, factor=2, max=300, jitter=False)
    assert [policy.delay(attempt, random=0.5) for attempt in range(1, 12)] == [
        *(2.0**n for n in range(9)),
        300.0,
        300.0,
    ]


def test_jitter_keeps_half_and_spreads_half() -> None:
    policy = RetryPolicy(initial=8, factor=2, max=300)
    assert policy.delay(1, random=0.0) == 4.0
    assert policy.delay(1, random=0.5) == 6.0
    assert policy.delay(2, random=0.0) == 8.0


@given(policies, st.integers(1, 10**12), chances, st.none() | st.floats(allow_nan=True))
def test_every_wait_is_finite_and_within_its_bounds(policy: Any, attempt: Any, random: Any, retry_after: Any) -> None:
    delay = policy.delay(attempt, random=random, retry_after=retry_after)
    cap = max(policy.max, MAX_RETRY_AFTER)
    assert 0 <= delay <= (policy.max if retry_after is None else cap + policy.max / 2)
    if retry_after is not None and not math.isnan(retry_after):
        assert delay >= min(retry_after, cap)


@given(policies, st.integers(1, 1000), chances)
def test_waits_never_shrink(policy: Any, attempt: Any, random: Any) -> None:
    assert policy.delay(attempt, random=random) <= policy.delay(attempt + 1, random=random)


def test_the_error_decides_and_the_attempts_end_it() -> None:
    policy = RetryPolicy(max_attempts=3, initial=1, jitter=False)
    assert policy.next_delay(TransientError("x"), 1, random=0) == 1
    assert policy.next_delay(StepTimeout("x"), 2, random=0) == 2
    assert policy.next_delay(TransientError("x"), 3, random=0) is None
    assert policy.next_delay(PermanentError("x"), 1, random=0) is None
    assert policy.next_delay(PermanentError("x", retryable=True), 1, random=0) == 1
    assert policy.next_delay(ConnectionError("x"), 1, random=0) is None
    assert policy.next_delay(RateLimited("x", retry_after=42), 1, random=0) == 42
    assert policy.next_delay(RateLimited("x", retry_after=1e12), 1, random=0) == MAX_RETRY_AFTER


def test_the_settings_count_retries_and_the_policy_attempts() -> None:
    policy = RetryPolicy.from_settings(
        ExecutionSettings(
            max_retries=0, retry_initial_seconds=3, retry_factor=5, retry_max_seconds=7, retry_jitter=False
        )
    )
    assert policy == RetryPolicy(max_attempts=1, initial=3, factor=5, max=7, jitter=False)
    assert RetryPolicy.from_settings(ExecutionSettings()) == RetryPolicy()


@pytest.mark.parametrize(
    "wrong", [{"max_attempts": 0}, {"initial": -1}, {"factor": 0.5}, {"max": math.inf}, {"initial": math.nan}]
)
def test_impossible_policies_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        RetryPolicy(**wrong)
