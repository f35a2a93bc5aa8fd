"""Five steps; CRASH_AFTER names the step after whose checkpoint the worker kills itself, CRASH_IN the one within."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from automate import action, workflow
from automate.signals import step_completed


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@action("crash.trace")
def trace(name: str, seconds: float = 0.0) -> str:
    with open(os.environ["CRASH_LEDGER"], "a", encoding="utf-8") as ledger:
        ledger.write(f"{name}\n")
    if os.environ.get("CRASH_IN") == name:
        die()
    time.sleep(seconds)
    return name


def after_checkpoint(sender: Any, step: Any, **_: Any) -> None:
    if os.environ.get("CRASH_AFTER") == step.step_id:
        die()


step_completed.connect(after_checkpoint, weak=False)

with workflow("crash", on="crash.now") as w:
    for name in ("s1", "s2", "s3", "s4", "s5"):
        w.step(name, trace, name=name)

with workflow("slow", on="slow.now") as w:
    w.step("s1", trace, name="s1", seconds=w.event["seconds"])
    w.step("s2", trace, name="s2")
