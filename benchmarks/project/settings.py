"""Django's settings: BENCH_URL names the database, BENCH_APPS the applications."""

from __future__ import annotations

import json
import os
from urllib.parse import urlsplit

_url = urlsplit(os.environ["BENCH_URL"])

SECRET_KEY = "benchmarks alone"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    *os.environ.get("BENCH_APPS", "automate,automate_outbox,project.apps.ProjectConfig").split(","),
]
if _url.scheme == "sqlite":
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": _url.path,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _url.path.lstrip("/"),
            "USER": _url.username or "",
            "PASSWORD": _url.password or "",
            "HOST": _url.hostname or "",
            "PORT": str(_url.port or ""),
            "CONN_MAX_AGE": None,
        }
    }
LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR"}}
DJANGO_AUTOMATE = json.loads(os.environ.get("BENCH_AUTOMATE", "{}"))

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default"]}}
Q_CLUSTER = {
    "name": "bench",
    "orm": "default",
    "workers": 2,
    "poll": 0.05,
    "bulk": 50,
    "queue_limit": 200,
    "save_limit": -1,
    "retry": 120,
    "timeout": 60,
    "catch_up": False,
    "scheduler": False,
    "recycle": 100_000,
    "log_level": "ERROR",
}
