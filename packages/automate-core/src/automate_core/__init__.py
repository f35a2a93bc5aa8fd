"""The core of Automate: hookspecs, registry, rules, workflow planning, redaction. No Django, no I/O, no SDK."""

from automate_core.__about__ import __version__
from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec

__all__ = ["Spec", "__version__", "hookimpl"]
