"""No secret is indexed, embedded or searched for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from automate_core import settings
from automate_core.redaction import REDACTED, forget, remember
from automate_rag import index_documents, query
from automate_rag.stores import close_store, get_store

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    settings.configure(None)
    remember(SECRET)
    yield
    forget(SECRET)
    close_store()
    settings.configure(None)


def test_documents_are_written_without_secrets() -> None:
    given = {"note": SECRET, "password": "hunter2", "author": "Ada", "tags": ["open"]}
    index_documents("help", [{"id": "1", "content": f"Log in with {SECRET} at the monkey desk.", "metadata": given}])
    (hit,) = query("help", "monkey")
    assert hit["content"] == hit["passage"] == f"Log in with {REDACTED} at the monkey desk."
    assert hit["metadata"] == {"note": REDACTED, "password": REDACTED, "author": "Ada", "tags": ["open"]}
    assert given["note"] == SECRET  # the caller's own is left alone


def test_queries_are_asked_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    index_documents("help", [{"id": "1", "content": "monkey business"}])
    asked: list[str] = []
    store = type(get_store())
    search = store.query

    def spy(self: object, endpoint: str, text: str, **options: object) -> object:
        asked.append(text)
        return search(self, endpoint, text, **options)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(store, "query", spy)
    assert query("help", f"monkey {SECRET}")
    assert asked == [f"monkey {REDACTED}"]
