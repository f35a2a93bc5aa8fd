"""Settings of a worker process under test: the database of the test that started it."""

import json
import os

from automate_core.testing import databases

databases.find_server(os.environ["WORKER_DATABASE_KIND"])  # lets PyMySQL stand in for mysqlclient where it must

SECRET_KEY = "a key for tests alone"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "automate_outbox", "automate", "crash_app"]
DATABASES = {"default": json.loads(os.environ["WORKER_DATABASE"])}
DJANGO_AUTOMATE = json.loads(os.environ["WORKER_AUTOMATE"])
