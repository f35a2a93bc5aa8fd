"""The acme connector for Automate."""

from automate_acme.__about__ import __version__

__all__ = ["__version__"]
