"""The admin and Automate's own pages, for tests that open them."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("automate/", include("automate.urls"))]
