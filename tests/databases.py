"""The settings that every database shares in the repository's own tests."""

from __future__ import annotations

from typing import Any

from automate_core.testing.databases import django_databases

__all__ = ["INSTALLED_APPS", "django_settings"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "automate_outbox",
    "automate_secrets",
    "automate_llm",
    "automate_rag",
    "automate",
]


def django_settings(database: str) -> dict[str, Any]:
    """Return a whole settings module for one database.

    Args:
        database: ``sqlite``, ``postgres`` or ``mariadb``.
    """
    return {
        "DATABASES": django_databases(database),
        "INSTALLED_APPS": INSTALLED_APPS,
        "SECRET_KEY": "for-tests-only",
        "USE_TZ": True,
        "TIME_ZONE": "UTC",
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "ROOT_URLCONF": "urls",
        "ALLOWED_HOSTS": ["*"],
        "STATIC_URL": "/static/",
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        "TEMPLATES": [
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
        ],
    }
