"""The error tree: drawn, redacted, picklable."""

from __future__ import annotations

import pickle

import pytest
from automate_core import errors, redaction
from automate_core.errors import AutomateError, ErrorCodes, LeaseLostError, RateLimited, TransientError, nearby


def tree() -> list[type[AutomateError]]:
    found = [AutomateError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return [cls for cls in found if cls.__module__ == errors.__name__]


def test_the_tree_is_drawn_as_it_is_and_every_class_has_a_code_of_its_own() -> None:
    drawn = [
        line.strip("│├└─ ").split("(")[0].split()[0] for line in (errors.__doc__ or "").splitlines() if "─" in line
    ]
    names = [cls.__name__ for cls in tree()]
    assert sorted(drawn) == sorted(names[1:])
    assert set(names) <= set(errors.__all__)
    codes = [cls.default_code for cls in tree()]
    assert len(set(codes)) == len(codes)
    assert set(codes) == set(ErrorCodes)
    assert all(cls.__doc__ for cls in tree())


def test_ways_to_make_one() -> None:
    specified = AutomateError(ErrorCodes.INTERNAL, "text")
    assert (specified.code, str(specified), specified.retryable) == (ErrorCodes.INTERNAL, "text", False)
    assert TransientError("text").code == ErrorCodes.TRANSIENT
    assert TransientError("text").retryable
    assert not TransientError("text", retryable=False).retryable
    assert RateLimited("slow", retry_after=3).retry_after == 3
    assert str(LeaseLostError()).startswith("The caller no longer holds the lease")
    with pytest.raises(TypeError):
        AutomateError("a", "b", "c")


def test_secrets_are_removed_and_pickling_keeps_the_rest() -> None:
    redaction.remember("hunter2-hunter2")
    try:
        error = TransientError(
            "the key hunter2-hunter2 is wrong", context={"password": "x", "step": "a"}, retry_after=2
        )
        assert "hunter2" not in str(error) + repr(error) + str(error.args)
        assert error.context == {"password": "[REDACTED]", "step": "a"}
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is TransientError
        assert (str(again), again.context, again.retry_after, again.retryable) == (
            str(error), error.context, 2, True,
        )  # fmt: skip
    finally:
        redaction.forget("hunter2-hunter2")


def test_nearby() -> None:
    assert nearby("slak", ["slack", "http"]) == " Did you mean 'slack'?"
    assert nearby("zzz", ["slack", "http"]) == " Known: http, slack."
    assert nearby("zzz", []) == " None exists yet."
    assert nearby("zzz", map(str, range(20))).endswith("….")
