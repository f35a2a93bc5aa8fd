"""Statements that are sent without waiting for each other."""

from __future__ import annotations

from typing import Any

import pytest
from automate.models import Workflow
from automate.runtime.connections import pipelined
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

pytestmark = pytest.mark.usefixtures("db")


def insert(slug: str) -> None:
    Workflow.objects.bulk_create([Workflow(slug=slug)])


def read(query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()


def test_what_was_sent_together_is_written_and_may_be_read_on_the_way() -> None:
    with transaction.atomic(), pipelined():
        insert("one")
        assert read("SELECT count(*) FROM automate_workflow") == (1,)
        insert("two")
    assert set(Workflow.objects.values_list("slug", flat=True)) == {"one", "two"}


def write(*slugs: str, reads: bool = False, error: Exception | None = None) -> None:
    with transaction.atomic(), pipelined():
        for slug in slugs:  # on PostgreSQL one may be sent before the answer to the one before has come
            insert(slug)
        if reads:
            read("SELECT 1")
        if error is not None:
            raise error


@pytest.mark.parametrize("reads", [False, True])
def test_the_error_of_a_statement_is_raised_as_what_it_is(reads: bool) -> None:
    with pytest.raises(DatabaseError) as caught:
        write("one", "one", "two", reads=reads)
    assert isinstance(caught.value, IntegrityError)
    assert not isinstance(caught.value, OperationalError)  # which would mean that the database is away
    assert not Workflow.objects.exists()


def test_an_error_of_the_caller_leaves_the_connection_usable() -> None:
    with pytest.raises(ValueError, match="mine"):
        write("one", error=ValueError("mine"))
    assert not Workflow.objects.exists()
    assert read("SELECT 1") == (1,)


def test_what_the_driver_cannot_pipeline_is_sent_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a libpq before 14."""
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setattr(psycopg.Pipeline, "is_supported", lambda: False)
    monkeypatch.delattr(psycopg.Connection, "pipeline")
    write("one", "two")
    assert Workflow.objects.count() == 2
