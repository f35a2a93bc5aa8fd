"""Makes the tables of the project under test, and publishes its workflows: ``python -m faults.prepare``."""

from __future__ import annotations

import django
from django.core.management import call_command

if __name__ == "__main__":
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    call_command("automate_sync", verbosity=0)
