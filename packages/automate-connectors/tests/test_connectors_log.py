"""``log.write``: the line carries the run, and no secret."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from automate_connectors.log import Log
from automate_core.connectors import ActionContext
from automate_core.errors import InvalidInputError
from automate_core.redaction import forget, remember
from automate_core.testing.connectors import ConnectorContract


class TestLogContract(ConnectorContract):
    connector = Log
    inputs: Mapping[str, Any] = {"write": {"message": "hello"}}


def test_a_line_carries_the_run_and_hides_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "automate.action")
    ctx = ActionContext(run_id="r1", workflow="w", step_id="s", attempt=2)
    entry = Log(ctx=ctx).call(
        "write",
        {
            "level": "warning",
            "message": "100% %s Bearer abcdef0123456789abcdef",
            "fields": {"api_key": "k-123456", "n": 1},
        },
    )
    (record,) = caplog.records
    line: Any = record
    assert (record.levelname, line.run_id, line.workflow, line.step_id, line.attempt) == ("WARNING", "r1", "w", "s", 2)
    assert record.getMessage() == entry["message"]
    assert line.fields == entry["fields"]
    assert entry["level"] == "warning"
    assert entry["fields"]["n"] == 1
    assert entry["message"].startswith("100% %s Bearer ")
    assert "abcdef0123456789abcdef" not in str(entry)
    assert "k-123456" not in str(entry)


def test_a_line_that_grows_while_secrets_are_removed_is_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "automate.action")
    remember("sesame")
    try:
        entry = Log().call("write", {"message": "sesame " * 1400})
    finally:
        forget("sesame")
    assert len(entry["message"]) == 10_000
    assert "sesame" not in entry["message"]
    assert caplog.messages == [entry["message"]]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_each_level_is_the_loggers(level: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "automate.action")
    Log().call("write", {"level": level, "message": "x"})
    assert [record.levelname.lower() for record in caplog.records] == [level]


@pytest.mark.parametrize("data", [{}, {"message": ""}, {"message": "x", "level": "loud"}, {"message": "x" * 10_001}])
def test_wrong_input_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        Log().call("write", data)
