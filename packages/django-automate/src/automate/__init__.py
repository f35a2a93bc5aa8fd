"""Event-driven workflow automation for Django: when this happens, and these conditions hold, do that, for sure."""

from automate.__about__ import __version__

__all__ = ["__version__"]
