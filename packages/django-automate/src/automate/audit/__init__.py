"""The audit log: who changed what, and who was refused."""

from automate.audit.recording import record

__all__ = ["record"]
