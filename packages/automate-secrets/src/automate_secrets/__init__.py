"""Secret backends for Automate."""

from automate_secrets.__about__ import __version__

__all__ = ["__version__"]
