"""The version of automate-outbox."""

__version__ = "0.1.0"
