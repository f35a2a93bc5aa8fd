"""Finding out whether the audit log is what was written: edits, deletions, insertions, another order, a lost end.

What cannot be found from within: that a whole log, or its end together with the head of that time, was put back. Keep
heads elsewhere (``automate audit head``), and hold them against the log.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from automate_core.errors import AuditChainBroken

from automate.audit.appending import RESEALED
from automate.audit.chain import GENESIS, Anchor, KeyRing, is_code_of
from automate.audit.keys import current_ring
from automate.audit.stored import COLUMNS, HEAD, read_head, read_rows, unreadable

if TYPE_CHECKING:
    from automate.models import AuditHead, AuditLogEntry

__all__ = ["AuditReport", "Finding", "state_of", "verify"]

BATCH = 1000
"""Rows that are read at once."""

_MOST_FINDINGS = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written.

    Args:
        position: Where in the log; None where it is about the head.
        kind: ``edited``, ``missing``, ``unlinked``, ``unkeyed``, ``unknown_key``, ``old_key``, ``truncated``,
            ``before_first``, ``beyond_head``, ``head``, ``anchor`` or ``resealed``.
        message: A sentence.
    """

    position: int | None
    kind: str
    message: str


@dataclass(slots=True)
class AuditReport:
    """What was looked at, and what was found.

    Args:
        checked: Entries.
        first: The position of the first one.
        last: The position of the last one.
        head: The head of what was checked, to be kept elsewhere.
        unkeyed: Entries that were written without a key.
        findings: What is wrong; the first 100.
        count: How many there are.
        notices: What weakens the proof, and is no sign of tampering.
    """

    checked: int = 0
    first: int | None = None
    last: int | None = None
    head: str = ""
    unkeyed: int = 0
    findings: list[Finding] = field(default_factory=list)
    count: int = 0
    notices: list[str] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return self.count == 0

    def add(self, position: int | None, kind: str, message: str) -> None:
        """Note what is wrong.

        Args:
            position: Where.
            kind: What it is.
            message: A sentence.
        """
        self.count += 1
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(Finding(position, kind, message))

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"intact": self.intact, **asdict(self)}


def verify(
    *,
    since: int = 1,
    anchor: Anchor | None = None,
    using: str = "default",
    progress: Callable[[int], None] | None = None,
) -> AuditReport:
    """Walk through the log, entry by entry, while others may write to it.

    Args:
        since: The position to begin at; what the first entry says of the one before is believed where it is not 1.
        anchor: A head that was kept elsewhere.
        using: The database.
        progress: Is told, after each batch, how many entries were checked.

    Returns:
        What was found.
    """
    walk = _Walk(current_ring(), since)
    _look_before_the_first(walk.report, using)
    for row in _rows(using, since - 1, None, progress):
        walk.take(row)
    # The head is read after the rows, so it is at the last of them or after it; what came meanwhile is read then.
    try:
        head = read_head(using)
    except AuditChainBroken as error:
        walk.report.add(None, "head", error.message)
    else:
        if head is not None and head.position > walk.position:
            for row in _rows(using, walk.position, head.position, progress):
                walk.take(row)
        walk.end(head)
    _look_for_other_heads(walk.report, using)
    if anchor is not None:
        _hold_against(anchor, walk.report, using)
    _note_weaknesses(walk.report, using)
    if since == 1 and walk.report.first is not None and walk.report.intact:
        _note_older_versions(walk.report, walk.report.first, using)
    return walk.report


def state_of(entry: AuditLogEntry) -> str:
    """Return whether one entry is what was written, for people; its neighbours are not looked at.

    Args:
        entry: The entry.
    """
    if entry.unreadable:
        return f"UNREADABLE: {', '.join(entry.unreadable)}; run 'automate audit verify'"
    ring, row = current_ring(), {name: getattr(entry, name) for name in COLUMNS}
    if not ring.knows(entry.key_id):
        return f"unknown key {entry.key_id}"
    if entry.position < 1 or not is_code_of(entry.mac, row, ring):
        return "CHANGED"
    return f"as written (key {entry.key_id})" if entry.key_id else "as written, without a key"


class _Walk:
    """One walk along the chain."""

    def __init__(self, ring: KeyRing, since: int) -> None:
        self.report = AuditReport()
        self.position = since - 1
        self._mac = GENESIS if since == 1 else None
        self._ring = ring
        self._key_id: str | None = None
        self._ended: dict[str, int] = {}
        self._last_of = {position: key_id for key_id, position in ring.retired.items() if position}

    def take(self, row: dict[str, Any]) -> None:
        """Check the next row."""
        position, report, lost = row["position"], self.report, unreadable(row)
        if position > self.position + 1:
            report.add(position, "missing", f"{_span(self.position + 1, position - 1)} missing before entry {position}")
        elif self._mac is not None and row.get("previous") != self._mac:
            report.add(position, "unlinked", f"entry {position} does not follow what stands before it")
        if lost:
            columns = " and ".join(lost)
            report.add(position, "edited", f"entry {position} cannot be read: its {columns} were never written so")
        else:
            self._check(row)
        report.first = position if report.first is None else report.first
        report.last, report.checked = position, report.checked + 1
        self.position, self._mac = position, row.get("mac", "")

    def _check(self, row: Mapping[str, Any]) -> None:
        position, key_id = row["position"], row["key_id"]
        self.report.unkeyed += not key_id
        self._check_turn(position, key_id)
        if not self._ring.knows(key_id):
            self.report.add(position, "unknown_key", f"entry {position} names the key {key_id!r}: not in AUDIT.keys")
        elif not is_code_of(row["mac"], row, self._ring):
            self.report.add(position, "edited", f"entry {position} is not what was written")
        elif row["action"] == RESEALED and self._mac is not None:
            self.report.add(position, "resealed", f"the log was broken before entry {position}, which let it go on")

    def _check_turn(self, position: int, key_id: str) -> None:
        """Find an entry of a key whose turn it is not: each writes one stretch, up to where it was retired."""
        before, self._key_id = self._key_id, key_id
        if before is not None and before != key_id:
            self._ended[before] = position - 1
        if not self._ring.active:
            return
        entry = f"entry {position} {_of(key_id)}"
        retired = self._ring.retired if key_id else {"": 0, **self._ring.retired}
        expected = self._last_of.get(position, key_id)
        kind = "old_key" if key_id else "unkeyed"
        if position > retired.get(key_id, position):
            self.report.add(position, kind, f"{entry}; AUDIT.retired allows that up to entry {retired[key_id]}")
        elif expected != key_id:
            kind = "old_key" if expected else "unkeyed"
            self.report.add(position, kind, f"{entry}; AUDIT.retired says that it {_of(expected)}")
        elif before != key_id and key_id in self._ended:
            self.report.add(position, kind, f"{entry}, which had ended at entry {self._ended[key_id]}")

    def end(self, head: AuditHead | None) -> None:
        """Hold the head, if there is one, against what was found."""
        from automate.models import AuditHead

        if head is None and self.report.first is not None:
            self.report.add(None, "head", "the head of the log is gone")
            return
        head = head or AuditHead()
        self.report.head = str(Anchor(head.position, head.mac))
        self._check_seal(head)
        self._check_retired(max(head.position, self.position))
        if self.report.first is None and head.position < self.position:
            self.report.add(self.position + 1, "truncated", f"the log ends at {head.position}")
        elif head.position > self.position:
            gone = _span(self.position + 1, head.position)
            self.report.add(self.position + 1, "truncated", f"{gone} missing at the end")
        elif head.position < self.position:
            extra = _span(head.position + 1, self.position, "stands", "stand")
            self.report.add(head.position + 1, "beyond_head", f"{extra} after the head of the log")
        elif self._mac is not None and head.mac != self._mac:
            self.report.add(None, "head", "the head is not that of the last entry")

    def _check_seal(self, head: AuditHead) -> None:
        if not self._ring.knows(head.key_id):
            self.report.add(None, "unknown_key", f"the head names the key {head.key_id!r}: not in AUDIT.keys")
        elif not head.is_sealed_by(self._ring):
            self.report.add(None, "head", "the head of the log is not what was written")
        if not self._ring.active:
            return
        if not head.position:
            self.report.add(None, "head", "the log is empty: nothing was recorded yet, or all of it was taken away")
        elif head.key_id != self._ring.active:
            self.report.add(
                None,
                "old_key" if head.key_id else "unkeyed",
                f"the head of the log {_of(head.key_id)}, not of the active one: nothing was recorded since there is "
                "that key, or what it wrote was taken away",
            )
        self._note_old_keys()

    def _check_retired(self, end: int) -> None:
        """Find a key that may go on writing, as it is said to end where nothing is yet; or the end that was cut off."""
        for key_id, position in self._ring.retired.items():
            if position > end:
                kind, whose = ("old_key", f"the key {key_id!r} wrote") if key_id else ("unkeyed", "no key was there")
                said = f"AUDIT.retired says that {whose} up to entry {position}; the log ends at {end}"
                self.report.add(position, kind, said)

    def _note_old_keys(self) -> None:
        """Say which keys can be retired. Nobody knows where the last one seen ends, as long as it is the last."""
        for key_id, position in self._ended.items():
            if key_id not in {"", self._ring.active, *self._ring.retired}:
                self.report.notices.append(
                    f"The key {key_id!r} is not retired: whoever has it, and the database, can write the log anew. If "
                    f"it wrote up to entry {position}, add {key_id!r}: {position} to AUDIT.retired."
                )


def _look_before_the_first(report: AuditReport, using: str) -> None:
    from automate.models import AuditLogEntry

    entries = AuditLogEntry.objects.using(using).filter(position__lt=1).order_by("position")
    for position in entries.values_list("position", flat=True).iterator():
        report.add(position, "before_first", f"entry {position} stands before the first position, which is 1")


def _look_for_other_heads(report: AuditReport, using: str) -> None:
    from automate.models import AuditHead

    others = AuditHead.objects.using(using).exclude(pk=HEAD).count()
    if others:
        what = "another row stands" if others == 1 else f"{others} other rows stand"
        report.add(None, "head", f"{what} in the table of the head of the log, which is one")


def _rows(
    using: str, after: int, until: int | None, progress: Callable[[int], None] | None
) -> Iterator[dict[str, Any]]:
    from automate.models import AuditLogEntry

    entries = AuditLogEntry.objects.using(using).order_by("position")
    if until is not None:
        entries = entries.filter(position__lte=until)
    seen = 0
    while True:
        rows = read_rows(entries.filter(position__gt=after), BATCH)
        yield from rows
        seen += len(rows)
        if len(rows) < BATCH:
            return
        after = rows[-1]["position"]
        if progress is not None:
            progress(seen)


def _hold_against(anchor: Anchor, report: AuditReport, using: str) -> None:
    from automate.models import AuditLogEntry

    rows = read_rows(AuditLogEntry.objects.using(using).filter(position=anchor.position), 1)
    found = GENESIS if not anchor.position else rows[0].get("mac", "") if rows else None
    if found is None:
        report.add(anchor.position, "truncated", f"entry {anchor.position}, which the given head names, is missing")
    elif not hmac.compare_digest(str(found).encode(), anchor.mac.encode()):
        report.add(anchor.position, "anchor", f"entry {anchor.position} is another one than the given head names")


def _note_weaknesses(report: AuditReport, using: str) -> None:
    from django.db import connections

    from automate.audit import guard

    if report.unkeyed:
        report.notices.append(
            f"{report.unkeyed} entries were written without a key: whoever can write the table can also write what "
            "fits it. Set AUDIT.keys."
        )
    if not guard.is_installed(connections[using]):
        report.notices.append("The triggers that refuse changes of the log are not in the database.")


def _note_older_versions(report: AuditReport, first: int, using: str) -> None:
    """Say where workflows are older than the log: whoever emptied it, head and all, began it anew."""
    from automate.models import AuditLogEntry, WorkflowVersion

    entries = AuditLogEntry.objects.using(using)
    begun = entries.filter(position=first).values_list("created_at", flat=True)[0]
    older = WorkflowVersion.objects.using(using).filter(created_at__lt=begun)
    # A version is made just before its entry, so those of the first transactions are older than the first entry.
    published = entries.filter(action__in=("workflow.published", "workflow.shadow_published"))
    recorded = set(published.values_list("resource", "details__hash").order_by("position")[:BATCH])
    for slug, digest, number in older.values_list("workflow__slug", "hash", "version_num")[:BATCH]:
        if (f"workflow:{slug}", digest) not in recorded:
            report.notices.append(
                f"Version {number} of the workflow {slug!r} is older than the log, and nothing says who published it: "
                "the log was emptied and begun anew, or its database is another one than it was."
            )
            return


def _of(key_id: str) -> str:
    return f"is of the key {key_id!r}" if key_id else "has no key"


def _span(first: int, last: int, one: str = "is", many: str = "are") -> str:
    return f"entry {first} {one}" if first == last else f"entries {first} to {last} {many}"
