"""Identifiers, settings without Django, and the connector base class."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from decimal import Decimal
from typing import Any

import pytest
from automate_core import settings
from automate_core._action_input import validate
from automate_core.aliases import ensure_alias
from automate_core.connectors import ActionContext, ActionSpec, Connector
from automate_core.errors import (
    ConfigurationError,
    InvalidInputError,
    PermanentError,
    TransientError,
    UnknownActionError,
)
from automate_core.ids import uuid7
from automate_core.redaction import REDACTED, redact
from pydantic import BaseModel


def test_uuid7_is_of_its_version_and_grows() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(10_000)]
    after = time.time_ns() // 1_000_000
    assert ids == sorted(set(ids))
    assert {(i.version, i.variant) for i in ids} == {(7, "specified in RFC 4122")}
    assert before <= ids[0].int >> 80 <= after + 10


def test_settings_without_django() -> None:
    assert settings.current().policy.llm_budget_daily == Decimal("10.00")
    assert settings.parse({"POLICY": {"llm_budget_daily": 10.1}}).policy.llm_budget_daily == Decimal("10.1")
    settings.configure(settings.parse({"ENABLED": False}))
    try:
        assert not settings.current().enabled
    finally:
        settings.configure(None)
    assert settings.current().enabled
    with pytest.raises(ConfigurationError) as caught:
        settings.parse({"ENABLE": 1, "WORKER": {"concurrency": 0}})
    assert len(caught.value.context["problems"]) == 2


def test_a_database_that_there_is_not_is_told_from_those_that_there_are() -> None:
    ensure_alias("replica", ["default", "replica"])
    with pytest.raises(ConfigurationError, match=r"no database 'nope'\..*has: default, replica\."):
        ensure_alias("nope", iter(["default", "replica"]))


@pytest.mark.parametrize(
    "raw",
    [
        None, "ENABLED", ["ENABLED"], {"OUTBOX": {"lease_seconds": float("inf")}},
        {"LLM": {"timeout_seconds": float("nan")}}, {"EXECUTION": {"timeout_seconds": 10**400}},
        {"POLICY": {"llm_budget_daily": 10**18}}, {"LLM": {"prices": {"m": {"input": "1e30", "output": 1}}}},
        {"LLM": {"providers": {"openai": {"api_key": "$the-key-itself"}}}},
    ],
)  # fmt: skip
def test_settings_of_odd_types_and_sizes_are_refused(raw: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings.parse(raw)
    assert "the-key-itself" not in str(caught.value)


def test_a_key_encryption_key_in_the_settings_is_hidden_from_then_on() -> None:
    key = "bm90IGEgcmVhbCBrZXksIGJ1dCAzMiBieXRlcyBsb25nLg=="
    elsewhere = {"k2": "$env:KEK", "k3": "file:/run/kek", "k4": "vault-transit:transit/kek", "k5": "aws-kms:alias/kek"}
    section = settings.parse({"SECRETS": {"keys": {"k1": key, **elsewhere}}}).secrets
    assert redact(section)["keys"] == {"k1": REDACTED, **elsewhere}
    assert key not in repr(section)


class Input(BaseModel):
    number: int
    note: str = "none"


class Calls(Connector):
    key = "calls"

    @classmethod
    def actions(cls) -> list[ActionSpec]:
        return [
            ActionSpec("model", Input),
            ActionSpec("schema", {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}),
            ActionSpec("slow", {"type": "object"}),
        ]

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        if action == "slow":
            return self.slow(input_data)
        if input_data.get("x") == "boom":
            raise OSError("boom")
        return input_data

    async def slow(self, input_data: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        raise TimeoutError("later")

    def normalize_error(self, exc: Exception) -> Exception:
        return TransientError("timed out") if isinstance(exc, TimeoutError) else super().normalize_error(exc)


def test_a_call_is_checked_before_and_normalised_after() -> None:
    assert Calls().call("model", {"number": "3"}) == {"number": 3, "note": "none"}
    with pytest.raises(InvalidInputError) as caught:
        Calls().call("model", {"number": "three"})
    assert caught.value.context["pointer"] == "/number"
    with pytest.raises(InvalidInputError, match="x"):
        Calls().call("schema", {})
    with pytest.raises(UnknownActionError, match="Did you mean 'schema'"):
        Calls().call("schem", {})
    with pytest.raises(PermanentError, match="OSError: boom") as failed:
        Calls().call("schema", {"x": "boom"})
    assert isinstance(failed.value.__cause__, OSError)
    with pytest.raises(TransientError, match="timed out"):
        asyncio.run(Calls().call("slow", {}))
    assert Connector().normalize_error(TransientError("x")).args == ("x",)
    with pytest.raises(UnknownActionError):
        Connector().execute_action("x", {})


def test_an_unfinished_schema_is_no_error_until_it_is_used() -> None:
    spec = ActionSpec(name="send_message", input_schema={"type": "object", "properties": {...}}, idempotent=True)
    assert spec.idempotent
    with pytest.raises(ConfigurationError):
        spec.validate_input({})
    assert ActionSpec("x").output_json_schema() == {}
    assert ActionSpec("x", Input).input_json_schema()["required"] == ["number"]
    assert validate(Input, {"number": 1}, what="it") == {"number": 1, "note": "none"}


def test_the_context_counts_down() -> None:
    assert 0 < ActionContext().remaining() <= 60
    assert ActionContext(deadline=time.monotonic() - 1).remaining() == 0
    assert ActionContext(step_id="s").logger.extra["step_id"] == "s"  # type: ignore[index]


def test_core_imports_neither_django_nor_an_sdk() -> None:
    code = (
        "import sys, automate_core, automate_core.registry, automate_core.rules, automate_core.workflow, "
        "automate_core.outbox, automate_core.secrets, automate_core.cli, automate_core.rag, automate_core.llm\n"
        "sdks = {'django', 'openai', 'anthropic', 'httpx2', 'numpy', 'cryptography', 'hvac', 'boto3'}\n"
        "found = sdks & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
