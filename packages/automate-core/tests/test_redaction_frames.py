"""Local variables in tracebacks: what shows them shows none of those that went through the redactor or a backend."""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType
from typing import Any, ClassVar

import pytest
from automate_core._redaction.frames import clear_locals, without_locals
from automate_core.errors import SecretError
from automate_core.redaction import RedactingFilter
from automate_core.secrets import Resolver, SecretBackend

HIDDEN = "a value that nobody else has"


def inner(given: str) -> None:
    raise LookupError("not there")


def outer(given: str) -> None:
    kept = [given]
    try:
        inner(given)
    except LookupError as error:
        raise ExceptionGroup("several", [error, ValueError(len(kept))]) from error


def fails() -> tuple[type[BaseException], BaseException, TracebackType | None]:
    try:
        outer(HIDDEN)
    except ExceptionGroup:
        return sys.exc_info()  # type: ignore[return-value]  # there is one
    raise AssertionError


def shown(kind: Any, error: Any, trace: Any) -> str:
    """What a reporter that reads local variables makes of it."""
    return "".join(traceback.TracebackException(kind, error, trace, capture_locals=True).format())


def test_a_traceback_without_locals_has_the_same_places_and_lines() -> None:
    kind, error, trace = fails()
    copied = without_locals(trace)
    assert traceback.extract_tb(copied) == traceback.extract_tb(trace)
    assert [frame.name for frame in traceback.extract_tb(copied)] == ["fails", "outer"]
    assert next(frame.line for frame in traceback.extract_tb(copied)) == "outer(HIDDEN)"
    while copied is not None:
        assert copied.tb_frame.f_locals == {}
        positions = list(copied.tb_frame.f_code.co_positions())  # Django reads them by the instruction
        assert positions[copied.tb_lasti // 2] == (copied.tb_lineno, copied.tb_lineno, None, None)
        copied = copied.tb_next
    assert HIDDEN in shown(kind, error, trace), "the original is as it was"
    assert without_locals(None) is None


def test_the_filter_hands_on_no_locals() -> None:
    record = logging.makeLogRecord({"msg": "failed", "exc_info": fails()})
    assert HIDDEN in shown(*record.exc_info)  # type: ignore[misc]  # it is there
    RedactingFilter().filter(record)
    assert HIDDEN not in shown(*record.exc_info)  # type: ignore[misc]  # it is there
    assert "outer(HIDDEN)" in shown(*record.exc_info)  # type: ignore[misc]  # it is there


def test_locals_are_cleared_in_groups_and_causes_and_not_in_what_was_handled_before() -> None:
    handled = fails()[1]
    kind, error, trace = fails()
    error.__context__ = handled
    clear_locals(error, handled)
    assert HIDDEN not in shown(kind, error, trace).partition("During handling")[0].replace("ExceptionGroup", "")
    assert HIDDEN in shown(type(handled), handled, handled.__traceback__)


class Talkative(SecretBackend):
    """A backend in whose frames the secret and a credential are when it fails."""

    key: ClassVar[str] = "talkative"
    supports_fields: ClassVar[bool] = True

    def get(self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None) -> str:
        headers = {"X-Vault-Token": HIDDEN}
        if path == "ours":
            raise SecretError(f"refused with {len(headers)} header")
        outer(HIDDEN)
        return ""


@pytest.mark.parametrize("path", ["ours", "theirs"])
def test_an_error_of_a_backend_has_no_credentials_in_its_frames(path: str) -> None:
    resolver = Resolver(backends={"vault": Talkative()})
    with pytest.raises(SecretError) as caught:
        resolver.resolve(f"$vault:{path}")
    text = shown(caught.type, caught.value, caught.value.__traceback__)
    assert ("refused with" if path == "ours" else "not there") in text
    assert HIDDEN not in text
    assert "in get" in text, "the places stay"
