"""The version of automate-secrets."""

__version__ = "0.1.0"
