"""The audit log: who changed what, and who was refused."""

from automate.audit.chain import Anchor
from automate.audit.reading import Selection, export
from automate.audit.recording import AuditEntry, record, record_many
from automate.audit.standing import note_settings
from automate.audit.verification import AuditReport, Finding, verify

__all__ = [
    "Anchor",
    "AuditEntry",
    "AuditReport",
    "Finding",
    "Selection",
    "export",
    "note_settings",
    "record",
    "record_many",
    "verify",
]
