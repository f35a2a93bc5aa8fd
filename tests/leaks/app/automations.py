"""Steps that fail, retry, log, call, and return, with secrets wherever there is room for one."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import logging
import os
import sys
import threading
import traceback
import warnings
from dataclasses import dataclass
from typing import Any

from automate import action, workflow
from automate_core.connectors import ActionContext
from automate_core.errors import PermanentError, TransientError
from automate_core.outbox import OutboxItem
from automate_core.secrets import SecretValue, resolve
from automate_outbox.handlers import register_handler
from pydantic import BaseModel, ConfigDict

from leaks.app.names import BROKEN, REFERENCES
from leaks.forms import forms
from leaks.kinds import BENIGN


def _texts(given: dict[str, str]) -> list[str]:
    return [text for secret in given.values() for text in forms(secret).values()]


@action("leaks.returns")
def returns(given: dict[str, str]) -> dict[str, Any]:
    """Return the secrets in every form and nested in every way."""
    shown = {str(number): forms(secret) for number, secret in enumerate(given.values())}
    raw = "".join(given.values()).encode()
    return {
        "shown": shown,
        "keys": dict.fromkeys(given.values(), 1),
        "lists": [[text] for text in given.values()],
        "bytes": [secret.encode() for secret in given.values()],
        "halves": [bytes(bytearray(raw[: len(raw) // 2])) + raw[len(raw) // 2 :]],
        "nested": {"a": [{"b": tuple(given.values())}]},
        "benign": BENIGN,
    }


@action("leaks.large")
def large(given: dict[str, str]) -> dict[str, Any]:
    """Return so much that it becomes a file."""
    return {"rows": [*_texts(given), *("filler " * 20 for _ in range(2000))], "benign": BENIGN}


@action("leaks.logs")
def logs(given: dict[str, str], ctx: ActionContext) -> None:
    """Write to every log, to the standard streams, to warnings, and end a thread with an exception."""
    orphan = logging.getLogger("leaks.orphan")
    orphan.propagate = False
    loggers = (logging.getLogger("automate.shop"), logging.getLogger("shop.billing"), orphan)
    for text in given.values():
        for logger in loggers:
            for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
                logger.log(level, "sent %s and %r", text, {"it": text})
            logger.warning(f"sent {text}", extra={"response": {"body": [text]}, "note": text}, stack_info=True)
            try:
                _fail("group", text)
            except ExceptionGroup:
                logger.exception("failed")
    for text in _texts(given):
        for logger in loggers:
            logger.warning("sent %s", text, extra={"note": [text]})
        ctx.logger.info("from the step: %s", text)
        sys.stdout.write(f"printed {text}\n")
        sys.stderr.writelines(["begun ", text, " ended\n"])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for text in given.values():
            warnings.warn(f"deprecated: {text}", stacklevel=1)
    for text in given.values():
        thread = threading.Thread(target=_fail, args=("group", text))
        thread.start()
        thread.join()


class _Holder(BaseModel):
    it: SecretValue


@dataclass
class _Record:
    it: SecretValue


@action("leaks.shows")
def shows(given: dict[str, SecretValue]) -> list[str]:
    """Show secrets that were never revealed in every way there is, and revealed ones as local variables."""
    shown = []
    for secret in given.values():
        record, model = _Record(secret), _Holder(it=secret)
        shown += [f"{secret}", f"{record!r}", f"{model!r}", str([model]), model.model_dump_json()]
        shown += [json.dumps({"it": secret}, default=str), repr(copy.deepcopy(record)), "{it}".format(**vars(record))]
        log = logging.getLogger("shop.billing")
        log.error("shown %s of %r", shown, record, extra={"record": record, "model": model, "note": [secret]})
        for how in ("notes", "group", "cause"):
            try:
                _fail(how, secret.reveal())
            except Exception as error:
                found = traceback.TracebackException.from_exception(error, capture_locals=True)
                log.warning("with local variables: %s", "".join(found.format()))
                log.exception("%s", error, extra={"error": error})
    return shown


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int


def _fail(how: str, text: str) -> None:
    try:
        raise ConnectionError(f"the inner one: {text}")
    except ConnectionError as inner:
        error: BaseException
        match how:
            case "arguments":
                raise RuntimeError(text, {"it": text}, text.encode())  # noqa: B904 - the context is meant
            case "cause":
                raise RuntimeError("outer") from inner
            case "context":
                raise KeyError(text)  # noqa: B904 - the context is meant
            case "notes":
                error = RuntimeError("with notes")
                error.add_note(f"note: {text}")
                raise error from None
            case "group":
                raise ExceptionGroup(f"several: {text}", [ValueError(text), inner]) from inner
            case "ours":
                raise PermanentError(f"refused: {text}", context={"answer": {"body": text}}) from inner
            case "pydantic":
                _Strict.model_validate({"number": text, "other": [text]})
            case "exit":
                raise SystemExit(text) from inner


@action("leaks.fails")
def fails(given: dict[str, str], how: str) -> None:
    """Raise with everything that is given, in one way."""
    _fail(how, "\n".join(_texts(given)))


@action("leaks.fails_shortly")
def fails_shortly(secret: str, how: str) -> None:
    """Raise with one secret alone, which libraries shorten on their own."""
    _fail(how, secret)


@action("leaks.fails_later")
async def fails_later(given: dict[str, str]) -> None:
    """Raise in asynchronous code."""
    _fail("group", "\n".join(given.values()))


@action("leaks.retries")
def retries(given: dict[str, str], ctx: ActionContext) -> list[str]:
    """Fail twice in a way that may pass."""
    if ctx.attempt < 3:
        raise TransientError(f"busy: {given}", context={"sent": given})
    return [base64.b64encode(text.encode()).decode() for text in given.values()]


class _Dies:
    """Handles items that no attempt helps; each error quotes a secret that it resolves itself."""

    kind = "leaks.dies"

    def handle(self, item: OutboxItem) -> None:
        given = {name: resolve(reference) for name, reference in REFERENCES.items()}
        _fail(item.payload["how"], "\n".join(_texts(given)))

    def on_dead(self, item: OutboxItem, error: str) -> None:
        logging.getLogger("shop.dead").error("dead: %s", error)

    def on_requeue(self, payloads: Any) -> Any:
        return payloads


register_handler(_Dies())

HOWS = ("arguments", "cause", "context", "notes", "group", "ours", "pydantic", "exit")
_number = itertools.count()


def _add(id: str, name: Any, **params: Any) -> None:
    w.step(f"{id}_{next(_number)}", name, params, needs=[], on_error="continue")


with workflow("hunt", on="leaks.hunt") as w:
    _add("returns", returns, given=REFERENCES)
    _add("large", large, given=REFERENCES)
    _add("logs", logs, given=REFERENCES)
    _add("shows", shows, given=REFERENCES)
    _add("later", fails_later, given=REFERENCES)
    w.step("retries", retries, {"given": REFERENCES}, needs=[], retry={"max_attempts": 3, "initial": 0.01})
    for how in HOWS:
        _add(how, fails, given=REFERENCES, how=how)
    for how in ("arguments", "group", "pydantic"):
        for reference in REFERENCES.values():
            _add(how, fails_shortly, secret=reference, how=how)
    for reference in REFERENCES.values():
        _add("log", "log.write", level="error", message=reference, fields={"it": 1})
        _add("log", "log.write", level="error", message="see", fields={"it": reference, "more": [reference]})
        _add("flow", "flow.log", message="see", fields={"it": reference})
        document = {"id": reference, "content": "see", "metadata": {"it": [reference]}}
        _add("rag", "rag.index", endpoint="leaks", documents=[document | {"id": f"d{next(_number)}"}])
        _add("rag", "rag.index", endpoint="leaks", documents=[{"id": f"d{next(_number)}", "content": reference}])
        _add("rag", "rag.query", endpoint="leaks", query_text=reference)
        _add("llm", "llm.chat", prompt=reference, system="be brief", max_tokens=5)
        _add("llm", "llm.chat", messages=[{"role": "user", "content": reference}], max_tokens=5)
        for path, sent in (
            ("json", "json"),
            ("text", "form"),
            ("refused", "body"),
            ("broken", "json"),
            ("json", "body"),
        ):
            url = f"http://{os.environ['LEAKS_SERVER']}/{path}"
            body = reference if sent == "body" else {"it": reference}
            _add("http", "http.request", method="POST", url=url, params={"q": reference}, **{sent: body})
    for name in ("HEX_TOKEN", "JWT", "AWS_KEY", "RANDOM_KEY", "DATABASE_URL"):  # a header has one line of ASCII
        for path in ("json", "refused", "redirect", "lost"):
            url = f"http://{os.environ['LEAKS_SERVER']}/{path}"
            _add("headers", "http.request", url=url, headers={"X-Token": REFERENCES[name]})
        _add("closed", "http.request", url="http://127.0.0.1:9/", params={"it": REFERENCES[name]})
    for reference in BROKEN:
        _add("broken", "log.write", message=reference)
    _add("llm", "llm.chat", prompt="refuse", max_tokens=5)
    _add("url", "http.request", url="$env:LEAKS_DATABASE_URL")
