"""Settings of every process under test: the database and the options of the site that started it."""

from __future__ import annotations

import json
import os
import secrets

from automate_core.testing.databases import find_server

_SITE = json.loads(os.environ["FAULTS_SITE"])
_DATABASE = dict(_SITE["database"])

WRITER = f"{os.getpid()}-{secrets.token_hex(3)}-{os.getppid()}"
"""Who this process is in the history, and who its parent: the triggers ask the connection for it."""

if _DATABASE["ENGINE"].endswith("mysql"):
    find_server("mariadb")  # lets PyMySQL stand in for mysqlclient
    _DATABASE["OPTIONS"] = {**_DATABASE.get("OPTIONS", {}), "init_command": f"SET @faults_writer = '{WRITER}'"}
elif _DATABASE["ENGINE"].endswith("postgresql"):
    _DATABASE["OPTIONS"] = {**_DATABASE.get("OPTIONS", {}), "application_name": WRITER}

SECRET_KEY = "a key for tests alone"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "automate_outbox", "automate", "faults.app"]
DATABASES = {"default": _DATABASE}
DJANGO_AUTOMATE = _SITE["automate"]
