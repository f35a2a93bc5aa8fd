"""Settings of the project: what LEAKS_CONFIG says, over every app of the workspace."""

from __future__ import annotations

import json
import os

from automate_core.testing import databases
from settings_sqlite import *  # noqa: F403 - the apps and the admin

_config = json.loads(os.environ["LEAKS_CONFIG"])
databases.find_server(_config["kind"])  # lets PyMySQL stand in for mysqlclient where it must

DEBUG = True
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [*INSTALLED_APPS, "leaks.app"]  # noqa: F405
DATABASES = {"default": _config["database"]}
MEDIA_ROOT = _config["media"]
STATIC_URL = "/static/"
ROOT_URLCONF = "leaks.urls"
ADMINS = [("Root", "root@example.com")]
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = _config["mails"]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"redact": {"()": "automate_core.redaction.RedactingFilter"}},
    "handlers": {
        "mail": {"class": "django.utils.log.AdminEmailHandler", "include_html": True, "level": "ERROR"},
        "web mail": {
            "class": "django.utils.log.AdminEmailHandler", "include_html": True, "level": "ERROR", "filters": ["redact"]
        },
        "file": {"class": "logging.FileHandler", "filename": _config["log"], "level": "DEBUG"},
        "console": {"class": "logging.StreamHandler", "level": "DEBUG"},
    },
    "loggers": {
        "django.db.backends": {"level": "DEBUG"},
        "django.request": {"handlers": ["web mail"]},
        "shop.billing": {"handlers": ["mail"]},
    },
    "root": {"handlers": ["file", "console"], "level": "DEBUG"},
}  # fmt: skip
DJANGO_AUTOMATE = {
    "LOGGING_SCHEMA": _config["schema"],
    "METRICS_EXPORT": True,
    "EXECUTION": {"retry_initial_seconds": 0.01, "inline_bytes": 20_000},
    "POLICY": {"egress_allow": [_config["server"], "127.0.0.1:9"]},
    "SECRETS": {"backend": "db", "keys": {"k1": "$env:LEAKS_KEY"}, **_config["secrets"]},
    "LLM": {
        "provider": "openai",
        "providers": {
            "openai": {
                "base_url": f"http://{_config['server']}/v1", "api_key": "$env:LEAKS_LLM_KEY", "model": "gpt-4o-mini"
            }
        },
    },
}  # fmt: skip
