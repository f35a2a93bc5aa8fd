"""Secret references and redaction; see :mod:`automate_core.secrets` and :mod:`automate_core.redaction`."""

from automate_core.redaction import redact
from automate_core.secrets import SecretRef, aresolve, resolve

__all__ = ["SecretRef", "aresolve", "redact", "resolve"]
