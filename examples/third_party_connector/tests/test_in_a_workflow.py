"""The plugin in a project: found through its entry point, used by a workflow, run by a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SETTINGS = """
from pathlib import Path
SECRET_KEY = "a key for tests alone"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "automate_outbox", "automate"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).with_name("db.sqlite3")}}
"""

SCRIPT = """
import django
django.setup()
from automate.events import emit_event
from automate.models import ExecutionRun
from automate.publish import publish
from django.core.management import call_command

call_command("migrate", verbosity=0)
publish({
    "slug": "in-fahrenheit",
    "trigger": {"type": "event", "event": "weather.measured"},
    "steps": [{
        "id": "convert",
        "action": "acme_weather.convert",
        "params": {"value": "{{ event.payload.celsius }}", "to": "fahrenheit"},
    }],
    "output": {"converted": "{{ steps.convert.output }}"},
})
emit_event("weather.measured", {"celsius": 100})
call_command("automate_worker", drain=True, verbosity=0)
run = ExecutionRun.objects.get()
assert run.status == "SUCCESS", run.error
print(run.outputs)
"""


def test_a_workflow_uses_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "project_settings.py").write_text(SETTINGS)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "project_settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "212" in done.stdout
