"""The version of automate-acme."""

__version__ = "0.1.0"
