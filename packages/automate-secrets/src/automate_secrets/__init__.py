"""Secret backends for Automate: environment variables, encrypted rows of the database, Vault, and AWS."""

from automate_secrets.__about__ import __version__

__all__ = ["__version__"]
