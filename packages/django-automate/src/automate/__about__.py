"""The version of django-automate."""

__version__ = "0.1.0"
