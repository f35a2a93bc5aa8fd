"""What the pages of the admin share, over a stand-in for Django's class."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from automate_core import pages
from automate_core.pages import ReadOnlyPage, answer_with


class ModelAdmin:
    """What Django's class brings."""

    def get_queryset(self, request: Any) -> str:
        return "all rows"

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def get_object(self, request: Any, object_id: str, from_field: str | None = None) -> str:
        return f"row {object_id}"

    def changelist_view(self, request: Any, extra_context: Any = None) -> str:
        return "list"

    def changeform_view(
        self, request: Any, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> str:
        return "form"

    def delete_view(self, request: Any, object_id: str, extra_context: Any = None) -> str:
        return "delete"

    def history_view(self, request: Any, object_id: str, extra_context: Any = None) -> str:
        return "history"


class Page(ReadOnlyPage, ModelAdmin):
    """A page."""

    seen_with = ("shop.audit",)

    def visible_to(self, user: Any, rows: Any) -> str:
        return f"{rows} of {user.name}"


@pytest.fixture
def as_before() -> Iterator[None]:
    before = pages._answer, pages._leave_out, pages._note_refusal
    yield
    answer_with(*before)


def request(method: str = "GET", *permissions: str) -> Any:
    user = SimpleNamespace(name="ann", has_perm=lambda permission: permission in permissions)
    return SimpleNamespace(method=method, user=user)


def ask(page: Page, method: str = "GET") -> list[str]:
    """Call every view."""
    return [
        page.changelist_view(request(method)),
        page.changeform_view(request(method)),
        page.changeform_view(request(method), "7"),
        page.delete_view(request(method), "7"),
        page.history_view(request(method), "7"),
    ]


def test_a_page_by_itself_answers_as_django_does() -> None:
    assert ask(Page()) == ["list", "form", "form", "delete", "history"]


@pytest.mark.usefixtures("as_before")
def test_whoever_keeps_the_log_sees_each_request_first() -> None:
    seen: list[Any] = []

    def answer(page: Any, request: Any, object_id: str | None, view: Any, needed: str) -> str:
        seen.append((object_id, needed))
        return f"answered {view()}"

    def leave_out(page: Any, request: Any, action: str, keys: Any, why: str) -> None:
        seen.append((action, keys, why))

    answer_with(answer, leave_out, pages._note_refusal)
    assert ask(Page()) == ["answered list", "answered form", "answered form", "answered delete", "answered history"]
    assert seen == [(None, "view"), (None, "add"), ("7", "view"), ("7", "delete"), ("7", "view")]
    seen.clear()
    Page().changeform_view(request("POST"), "7")
    assert seen == [("7", "change")]
    seen.clear()
    Page().leave_out(request("POST"), "switch", [7, 8], "tenant")
    assert seen == [("switch", [7, 8], "tenant")]


def test_rows_are_looked_at_by_whom_they_are_for_and_never_changed() -> None:
    page = Page()
    assert page.get_queryset(request()) == "all rows of ann"
    assert not page.has_view_permission(request())
    assert page.has_view_permission(request("GET", "shop.audit"))
    assert page.has_module_permission(request("GET", "shop.audit"))
    assert not page.has_add_permission(request())
    assert not page.has_change_permission(request())
    assert not page.has_delete_permission(request())


def test_the_key_of_no_row_has_a_nul() -> None:
    assert Page().get_object(request(), "7") == "row 7"
    assert Page().get_object(request(), "\0") is None


@pytest.mark.usefixtures("as_before")
def test_whoever_keeps_the_log_hears_once_who_may_not_complete_a_field() -> None:
    noted: list[Any] = []
    answer_with(pages._answer, pages._leave_out, lambda page, request: noted.append(request))

    def asked(*permissions: str, app: str = "admin", name: str = "autocomplete") -> Any:
        asking = request("GET", *permissions)
        asking.resolver_match = SimpleNamespace(app_names=[app], url_name=name)
        for _ in range(2):
            assert Page().has_view_permission(asking) is bool(permissions)
        return asking

    refused = asked()
    assert noted == [refused]
    asked("shop.audit")
    asked(name="index")
    asked(app="shop")
    Page().has_view_permission(request())
    assert noted == [refused]
