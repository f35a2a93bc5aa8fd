"""Django settings of the simulation: one database in memory, short times."""

from __future__ import annotations

SECRET_KEY = "a key for tests alone"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "automate_outbox", "automate"]
DATABASES = {"default": {"ENGINE": "simulation.backend", "NAME": ":memory:"}}
LEASE = 6.0
REAP = 2.0
MAX_CRASHES = 3
DJANGO_AUTOMATE = {
    "EXECUTION": {"retry_initial_seconds": 0.2, "retry_max_seconds": 2.0, "max_retries": 2, "batch_size": 4},
    "OUTBOX": {"lease_seconds": LEASE, "reaper_interval_seconds": REAP, "max_crashes": MAX_CRASHES},
    "WORKER": {"poll_seconds": 1.0, "grace_seconds": 2.0, "concurrency": 3},
}
LOGGING_CONFIG = None
