"""Pages in Django's admin: everything can be looked at, redacted, and nothing is edited by hand."""

from automate.admin import artifacts, audit, events, runs, workflows  # noqa: F401 - importing them registers the pages

__all__: list[str] = []
