"""Secret backends for Automate: environment variables, and encrypted rows of the database."""

from automate_secrets.__about__ import __version__

__all__ = ["__version__"]
