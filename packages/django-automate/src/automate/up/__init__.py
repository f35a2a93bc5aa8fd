"""``automate up``: from nothing, or from a Django project, to a first run that can be looked at."""
