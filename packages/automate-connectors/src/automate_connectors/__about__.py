"""The version of automate-connectors."""

__version__ = "0.1.0"
