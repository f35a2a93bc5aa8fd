"""The pages of the workspace, and views that fail."""

from __future__ import annotations

from automate_core.secrets import resolve
from django.http import HttpRequest, HttpResponse
from django.urls import path
from urls import urlpatterns as pages

from leaks.app.names import BROKEN

__all__ = ["urlpatterns"]


def broken(request: HttpRequest, number: int) -> HttpResponse:
    """Resolve a reference with which a backend fails, with an error of the application being handled."""
    try:
        raise LookupError("not in the cache")
    except LookupError:
        return HttpResponse(len(resolve(BROKEN[number])))


urlpatterns = [*pages, path("broken/<int:number>/", broken)]
