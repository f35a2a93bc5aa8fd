"""Django settings over SQLite with every app of the workspace: for mypy's plugin, the documentation and its tests."""

from __future__ import annotations

from pathlib import Path

from automate_core.testing.databases import django_databases

BASE_DIR = Path(__file__).resolve().parent.parent / ".cache"
SECRET_KEY = "a key for tests alone"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "automate",
    "automate_outbox",
    "automate_secrets",
    "automate_llm",
    "automate_rag",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "urls"
STATIC_URL = "/static/"
DATABASES = django_databases("sqlite")
DJANGO_AUTOMATE: dict[str, object] = {}
