"""Secrets go through everything, and are nowhere afterwards; what only looks like one stays readable."""

from __future__ import annotations

import json

from leaks.app.names import BROKEN
from leaks.hunt import Hunt
from leaks.kinds import BENIGN, needles
from leaks.searcher import search


def test_no_secret_is_left_anywhere(hunt: Hunt) -> None:
    leaks = search(hunt.places, hunt.needles)
    shown = [f"{leak.place}: {leak.secret} {leak.way}: {leak.around!r}" for leak in leaks]
    assert not leaks, "\n".join(shown[:50])


def test_a_secret_that_is_planted_among_all_that_is_found(hunt: Hunt) -> None:
    place = next(name for name in hunt.places if name.startswith("table automate_steprun"))
    planted = hunt.places | {place: hunt.places[place] + json.dumps({"note": hunt.secrets["JWT"]}).encode()}
    found = search({place: planted[place]}, needles(hunt.secrets))
    assert {(leak.place, leak.secret) for leak in found} == {(place, "JWT")}


def test_the_secrets_went_through_everything(hunt: Hunt) -> None:
    """Else there would have been nothing to find."""
    statuses = dict(hunt.database.query("SELECT status, COUNT(*) FROM automate_steprun GROUP BY status"))
    assert statuses["SUCCESS"] > 90
    assert statuses["FAILED"] > 50
    retried = "SELECT COUNT(*) FROM automate_steprun WHERE status = 'RETRY' AND action = 'leaks.retries'"
    assert hunt.database.query(retried)[0][0] == 2
    assert hunt.database.query("SELECT COUNT(*) FROM automate_outbox_job WHERE status = 'FAILED'")[0][0] == 7
    assert hunt.database.query("SELECT COUNT(*) FROM automate_artifact")[0][0] > 0
    assert hunt.database.query("SELECT COUNT(*) FROM automate_rag_document")[0][0] > 0
    calls = dict(hunt.database.query("SELECT status, COUNT(*) FROM automate_llm_llmcall GROUP BY status"))
    assert calls["SUCCESS"] == 16
    assert calls["FAILED"] == 1
    broken = "SELECT COUNT(*) FROM automate_steprun WHERE status = 'FAILED' AND step_id LIKE 'broken_%'"
    assert hunt.database.query(broken)[0][0] == len(BROKEN)
    mails = [content for name, content in hunt.places.items() if name.startswith("mails/")]
    assert any(b"Request URL:" in content for content in mails), "of a view"
    assert any(b"ExceptionGroup" in content for content in mails), "of a step"
    log = hunt.places["project.log"]
    assert all(
        name in log
        for name in (b"Event before-call.secrets-manager.GetSecretValue", b"POST /v1/auth/approle/login", b"SELECT ")
    )
    hidden = {name for name, content in hunt.places.items() if b"[REDACTED]" in content}
    assert {"output of worker 0", "project.log", "table automate_steprun", "table automate_outbox_job"} <= hidden
    assert any(name.startswith("page automate_steprun_") for name in hidden)
    assert any(name.startswith("automate dlq show") for name in hidden)


def test_the_services_got_what_they_were_to_get(hunt: Hunt) -> None:
    """Redaction is for what is shown: a call has its credentials, and a model's prompt has none."""
    sent = [(path, headers, body.decode()) for path, headers, body in hunt.received]
    assert any(headers.get("x-token") == hunt.secrets["JWT"] for _, headers, _ in sent)
    assert any(json.dumps(hunt.secrets["PASSWORD"]) in body or hunt.secrets["AWS_KEY"] in body for _, _, body in sent)
    prompts = {path + body: body.encode() for path, _, body in sent if path.startswith("/v1/")}
    assert len(prompts) >= 1
    assert search(prompts, needles(hunt.secrets)) == []


def test_benign_keys_stay_readable(hunt: Hunt) -> None:
    rows = hunt.places["table automate_steprun"].decode()
    pages = "".join(
        content.decode() for name, content in hunt.places.items() if name.startswith("page automate_event_")
    )
    for name, value in BENIGN.items():
        assert json.dumps(value) in rows, name
        assert value in pages, name
