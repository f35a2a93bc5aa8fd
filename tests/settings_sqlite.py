"""Django settings over SQLite with every app of the workspace: for mypy's plugin, the documentation and its tests."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTED_APPS = ["automate", "automate_outbox", "automate_secrets", "automate_llm", "automate_rag"]

SECRET_KEY = "a key for tests alone"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    *(app for app in DISTRIBUTED_APPS if find_spec(f"{app}.apps")),
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
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ.get("AUTOMATE_TEST_SQLITE", ".cache/test.sqlite3")),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}
DJANGO_AUTOMATE: dict[str, object] = {}
