"""Actions whose effects can be counted, and those that no worker should survive; workflows of one to three steps."""

from __future__ import annotations

import ctypes
import inspect
import itertools
import os
import threading
from typing import Any

from automate import action, workflow
from automate_core.connectors import ActionContext

TRANSACTIONAL: dict[str, Any] = (
    {"transactional": True} if "transactional" in inspect.signature(action).parameters else {}
)
"""Where the product offers it, shared effects are written in the transaction of their checkpoint."""


@action("faults.external")
def external(ctx: ActionContext, seconds: float = 0.0) -> str:
    """Have an effect outside the database: a line in a file, written at once."""
    line = f"{ctx.idempotency_key} {ctx.attempt} {os.getpid()}\n".encode()
    file = os.open(os.environ["FAULTS_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)
    threading.Event().wait(seconds)  # time.sleep fails under libfaketime
    return ctx.step_id


@action("faults.shared", **TRANSACTIONAL)
def shared(ctx: ActionContext) -> str:
    """Have an effect in the database that the product uses."""
    from faults.app.models import Effect

    Effect(effect_key=ctx.idempotency_key, attempt=ctx.attempt).save()
    return ctx.step_id


class Beyond(BaseException):
    """What `except Exception` does not catch."""


@action("faults.poison")
def poison(how: str) -> None:
    """End the process, or try to."""
    match how:
        case "exit":
            os._exit(7)
        case "segfault":
            ctypes.string_at(0)
        case "SystemExit":
            raise SystemExit(3)
        case "BaseException":
            raise Beyond("beyond")
        case "MemoryError":
            bytearray(1 << 60)
        case "loop":
            while True:
                pass
        case "native loop":
            all(itertools.repeat(True))  # holds the interpreter, for ever
        case _:
            raise ValueError(how)


@action("faults.bulky")
def bulky(size: int) -> str:
    """Return a long text."""
    return "x" * size


@action("faults.length")
def length(text: str) -> int:
    """Return the length of a text."""
    return len(text)


SECONDS = "{{ event.payload.seconds | default(0) }}"

with workflow("one", on="faults.one") as w:
    w.step("a", external, seconds=SECONDS)

with workflow("two", on="faults.two") as w:
    w.step("a", shared)
    w.step("b", external, seconds=SECONDS)

with workflow("three", on="faults.three") as w:
    w.step("a", external, seconds=SECONDS)
    w.step("b", shared)
    w.step("c", external, seconds=SECONDS)

with workflow("slow", on="faults.slow") as w:
    w.step("a", external, seconds=w.event["seconds"])
    w.step("b", shared)

with workflow("poison", on="faults.poison") as w:
    w.step("a", poison, how=w.event["how"], timeout=1, retry={"max_attempts": 1})

with workflow("bulky", on="faults.bulky") as w:
    w.step("a", bulky, size=w.event["size"], retry={"max_attempts": 1})

with workflow("payload", on="faults.payload") as w:
    w.step("a", length, text=w.event["text"], retry={"max_attempts": 1})
