"""Django for the simulation, which brings a database of its own."""

from __future__ import annotations

import os

import django
from django.conf import settings

if not settings.configured:
    os.environ["DJANGO_SETTINGS_MODULE"] = "simulation.settings"
    django.setup()
