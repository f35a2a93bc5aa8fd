"""The task of Django's own task framework."""

from __future__ import annotations

import probe
from django.tasks import task


@task()
def noop(number: int) -> None:
    """Count the call.

    Args:
        number: The number of the job.
    """
    probe.hit(number)
