"""The core of Automate: hookspecs, registry, rules, workflow planning, redaction."""

from automate_core.__about__ import __version__

__all__ = ["__version__"]
