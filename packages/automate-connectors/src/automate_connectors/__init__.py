"""Connectors for Automate, and the one egress client they use."""

from automate_connectors.__about__ import __version__

__all__ = ["__version__"]
