"""What the address of a list in the admin may ask: no question of it tells what the page hides."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from automate.events import emit_event
from automate.models import Decision, Event
from automate.publish import publish
from automate_core.lookups import may_look_up
from automate_outbox.models import OutboxJob
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import models
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.usefixtures("db", "fresh_definitions")

SECRET = "correct-horse-battery"
PAGES = [page for model, page in admin.site._registry.items() if model._meta.app_label.startswith("automate")]
TELLING = (
    "startswith", "istartswith", "endswith", "contains", "icontains", "regex", "iregex", "gt", "lte", "range", "in",
    "iexact", "password__startswith", "password", "has_key", "contained_by",
)  # fmt: skip
"""Lookups with which a value can be found out, by parts or by halves."""
DATES = (models.DateField, models.DateTimeField)


@pytest.fixture
def client() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def planted(work: Any) -> str:
    """Something of everything, with a secret in what comes from outside."""
    step = {"id": "note", "action": "flow.log", "params": {"message": "x"}}
    publish({"slug": "flow", "trigger": {"type": "event", "event": "*"}, "steps": [step]})
    payload = {"password": SECRET}
    event_id = emit_event(f"{SECRET}.happened", payload, SECRET, source=SECRET, subject=SECRET, tenant=SECRET)
    work()
    OutboxJob.objects.update(payload=payload, lease_token=SECRET, queue=SECRET, ordering_key=SECRET)
    return str(event_id)


def listing(page: Any) -> str:
    return reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist")


def rows_of(page: Any, client: Client, query: dict[str, str]) -> list[str]:
    """Return the keys of the rows that a list shows."""
    answer = client.get(listing(page), query)
    assert answer.status_code == 200
    return re.findall(rf'<th [^>]*><a href="{listing(page)}([^/]+)/change/', answer.content.decode())


def fields_of(model: Any, depth: int = 3) -> Iterator[tuple[str, Any]]:
    """Yield the fields that a lookup can name, those of related rows too."""
    for field in model._meta.get_fields():
        yield field.name, field
        if field.related_model is not None and depth:
            yield from ((f"{field.name}__{name}", one) for name, one in fields_of(field.related_model, depth - 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.opts.model_name)
def test_no_field_can_be_asked_for_a_part_of_its_value(page: Any, client: Client) -> None:
    filters = {entry if isinstance(entry, str) else entry[0] for entry in page.list_filter}
    filters |= {page.date_hierarchy} - {None}
    keys = {"pk", page.opts.pk.name, "event_id"}
    for path, field in [("pk", page.opts.pk), *fields_of(page.model)]:
        asked = {f"{path}__{lookup}" for lookup in TELLING}
        if not isinstance(field, DATES):
            asked |= {f"{path}__gte", f"{path}__lt", f"{path}__year"}
        if path not in filters | keys:
            asked |= {path, f"{path}__exact", f"{path}__isnull"} - {f"{key}__exact" for key in keys}
        asked -= {f"{name}__id__exact" for name in filters}  # how a filter by related rows asks
        assert not {lookup for lookup in asked if may_look_up(page, lookup, "2026-05-03")}
    hidden = [field.name for field in page.opts.fields if field.name not in filters | keys]
    for name in [*hidden, *(f"{name}__startswith" for name in hidden)]:
        assert client.get(listing(page), {name: "c"}).status_code == 400, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.opts.model_name)
def test_the_filters_of_every_page_work(page: Any, client: Client, planted: str) -> None:
    text = client.get(listing(page)).content.decode()
    links = {unescape(link) for link in re.findall(r'<a href="(\?[^"]+)"', text)}
    assert not page.list_filter or links
    for link in links:
        assert client.get(listing(page) + link).status_code == 200, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.opts.model_name)
def test_a_search_finds_no_secret_by_its_beginning(page: Any, client: Client, planted: str) -> None:
    assert rows_of(page, client, {"q": SECRET[:12]}) == []


def test_whole_values_are_found(client: Client, planted: str) -> None:
    page = admin.site.get_model_admin(Event)
    for query in ({"q": SECRET}, {"type": f"{SECRET}.happened"}, {"pk": planted}, {"id__exact": planted}):
        assert rows_of(page, client, query) == [planted], query
    assert rows_of(page, client, {"q": planted[:-1]}) == []
    assert len(rows_of(admin.site.get_model_admin(Decision), client, {"event_id__exact": planted})) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.opts.model_name)
def test_what_no_row_can_hold_is_a_bad_request_and_no_error(page: Any, client: Client) -> None:
    paths = {entry if isinstance(entry, str) else entry[0] for entry in page.list_filter} | {page.date_hierarchy}
    asked = [{"pk": "\0"}]
    for path in paths - {None}:
        asked += [{path: "\0"}, {f"{path}__exact": "a\0b"}]
        if "__" not in path and isinstance(page.opts.get_field(path), DATES):
            asked += [{f"{path}__{part}": "99999999999"} for part in ("year", "month", "day", "exact")]
            asked += [{f"{path}__year": "9999"}, {f"{path}__gte": "0001-01-01 00:00:00+14:00"}, {f"{path}__day": "32"}]
            asked += [{f"{path}__lt": "9999-12-31 23:59:59-12:00"}]
            is_time = isinstance(page.opts.get_field(path), models.DateTimeField)
            day = "2026-05-03 00:00:00+02:00" if is_time else "2026-05-03"
            assert client.get(listing(page), {f"{path}__gte": day}).status_code == 200, path
            assert client.get(listing(page), {f"{path}__year": "9998"}).status_code == 200, path
    for query in asked:
        assert client.get(listing(page), query).status_code == 400, query
    assert client.get(listing(page), {"q": "\0"}).status_code == 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.opts.model_name)
def test_a_key_with_a_nul_is_one_that_does_not_exist(page: Any, client: Client) -> None:
    base = f"admin:{page.opts.app_label}_{page.opts.model_name}"
    names = ["change", "history", "delete", *{"Event": ["raw"], "Artifact": ["content"]}.get(page.model.__name__, [])]
    for name in names:
        asked = reverse(f"{base}_{name}", args=["KEY"])
        for key in ("%00", "a%00b"):
            answer = client.get(asked.replace("KEY", key))
            assert answer.status_code == (403 if name == "delete" else 404 if name in ("raw", "content") else 302), key


def test_what_completes_a_field_searches_for_no_nul(client: Client, planted: str) -> None:
    query = {"app_label": "automate", "model_name": "workflowversion", "field_name": "workflow"}
    address = reverse("admin:autocomplete")
    found = client.get(address, {**query, "term": "flow"}).json()["results"]
    assert [row["text"] for row in found] == ["flow"]
    assert client.get(address, {**query, "term": "\0"}).json()["results"] == []
