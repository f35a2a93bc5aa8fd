"""The audit log: who changed what, and who was refused."""

from automate.audit.recording import Entry, record, record_many

__all__ = ["Entry", "record", "record_many"]
