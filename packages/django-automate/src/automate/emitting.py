"""How events become rows: checked, encoded once, and written together with their outbox items."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automate_core import settings
from automate_core.errors import AutomateError, InvalidPayloadError
from automate_core.ids import uuid7
from automate_core.outbox import NewJob
from automate_core.payload import check_payload
from automate_core.workflow.events import is_event_type
from automate_outbox.store import DatabaseOutboxStore, get_store
from automate_outbox.store.dialect import dialect_of
from automate_outbox.store.rows import NewRow, check_job
from automate_outbox.store.statements import Along
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.utils import timezone

from automate.artifacts import Owner, Reference, keep, save, stored
from automate.event_types import event_types
from automate.payloads import max_depth
from automate.signals import event_received, send

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from automate.models import Event

__all__ = ["EVENT_JOB", "Draft", "NewEvent", "Origin", "check_text", "draft_event", "numbered", "write_drafts"]

EVENT_JOB = "automate.event"

# A chunk is one statement. It stays within the 32,766 parameters of SQLite and the packet of MariaDB, 16 MB, even where
# the client escapes what was escaped before and text becomes three and a half times as long.
_EVENTS_PER_CHUNK = 1000
_BYTES_PER_CHUNK = 2 * 1024 * 1024

_TEXTS = {"id": "uuid", "type": "text", "source": "text", "subject": "text", "tenant": "text", "traceparent": "text"}
_COLUMNS = (*_TEXTS, "payload", "causation_id", "causation_depth", "created_at")
_INSERT = f"INSERT INTO automate_event ({', '.join(_COLUMNS)}) "
_FUNCTION = "automate_event_add_v1"  # takes the values of _COLUMNS
_VALUES = "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
# Two JSON parameters for any number of rows; the payloads apart, so that their texts are joined and not encoded again.
_FROM_JSON = (
    f"SELECT {', '.join(_TEXTS)}, payload, %s::uuid, %s, %s FROM ROWS FROM ("  # noqa: S608 - names of this module
    f"jsonb_to_recordset(%s::jsonb) AS ({', '.join(f'{name} {kind}' for name, kind in _TEXTS.items())}), "
    f"jsonb_array_elements(%s::jsonb)) AS r({', '.join(_TEXTS)}, payload)"
)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be written.

    Args:
        type: What happened, such as ``"order.paid"``: words joined by dots.
        payload: A JSON object; at most ``EVENTS.max_payload_bytes`` long.
        dedupe_key: The same key again, from the same source and tenant, stands for the event of the first call.
        source: Where it comes from.
        subject: What it is about, for finding it again.
        tenant: Whose it is; within a run the run's tenant unless given.
        traceparent: W3C trace context to continue.
        ordering_key: Events of one key, tenant and queue are handled one after another.
        priority: Higher is handled first; -32,768 to 32,767.
        queue: Which workers handle it.
    """

    type: str
    payload: dict[str, Any]
    dedupe_key: str | None = None
    source: str = ""
    subject: str = ""
    tenant: str | None = None
    traceparent: str = ""
    ordering_key: str = ""
    priority: int = 0
    queue: str = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """What the events of one call have in common.

    Args:
        tenant: Whose they are unless they say so.
        causation_id: The run that emits them; None outside of runs.
        depth: How many events and runs caused each other before them.
        created_at: When.
        max_bytes: Largest payload.
        max_depth: Levels of nesting of a payload.
        enforces_schemas: Whether a payload must fit the schema that is declared for its type.
    """

    tenant: str
    causation_id: UUID | None
    depth: int
    created_at: datetime = field(default_factory=timezone.now)
    max_bytes: int = field(default_factory=lambda: settings.current().events.max_payload_bytes)
    max_depth: int = field(default_factory=max_depth)
    enforces_schemas: bool = field(default_factory=lambda: settings.current().events.enforce_schemas)


@dataclass(slots=True)
class Draft:
    """A checked event.

    Args:
        event: What was asked for.
        id: Its id, as text.
        tenant: Whose it is.
        canonical: The canonical JSON text of its payload.
        column: What the column of its payload holds: a reference where it is large.
    """

    event: NewEvent
    id: str
    tenant: str
    canonical: bytes
    column: Any


def draft_event(event: NewEvent, origin: Origin) -> Draft:
    """Check everything that a database could refuse, and make the id.

    Args:
        event: What was asked for.
        origin: The rest.

    Raises:
        InvalidPayloadError: If the event cannot be stored.
        OutboxError: If its item cannot be queued.
    """
    check_text("type", event.type, limit=200)
    if not is_event_type(event.type):
        raise InvalidPayloadError(
            f"type is {event.type!r}: join words of letters, digits, '_' and '-' by dots, such as 'order.paid'.",
            context={"argument": "type"},
        )
    if event.dedupe_key is not None:
        check_text("dedupe_key", event.dedupe_key, limit=255)
        if not event.dedupe_key:
            raise InvalidPayloadError(
                "dedupe_key is empty, and every event without a key would be the same one: leave it out.",
                context={"argument": "dedupe_key"},
            )
    tenant = origin.tenant if event.tenant is None else event.tenant
    for name, text, limit in (
        ("source", event.source, 100),
        ("subject", event.subject, 200),
        ("tenant", tenant, 100),
        ("traceparent", event.traceparent, 64),
    ):
        if text != "":
            check_text(name, text, limit=limit)
    if origin.enforces_schemas:
        event_types.ensure_fits(event.type, event.payload)
    canonical = check_payload(event.payload, max_bytes=origin.max_bytes, max_depth=origin.max_depth)
    draft = Draft(event, str(uuid7()), tenant, canonical, stored(event.payload, canonical))
    if event.ordering_key != "" or event.priority != 0 or event.queue != "default":
        check_job(NewJob(EVENT_JOB, {}, event.queue, event.priority, event.ordering_key, tenant=tenant))
    return draft


def check_text(name: str, text: object, *, limit: int) -> None:
    """Refuse what a text column cannot hold.

    Args:
        name: The argument.
        text: Its value.
        limit: How many characters fit.

    Raises:
        InvalidPayloadError: If it is no text, too long, or holds a NUL or a lone surrogate.
    """
    problem = ""
    if not isinstance(text, str):
        problem = f"must be text, not {type(text).__name__}"
    elif len(text) > limit:
        problem = f"is longer than {limit} characters"
    elif "\x00" in text or (not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)):
        problem = "holds a NUL or a lone surrogate"
    if problem:
        raise InvalidPayloadError(f"{name} {problem}.", context={"argument": name})


def numbered(error: AutomateError, index: int) -> AutomateError:
    """Return an error about one event of a list, which says which.

    Args:
        error: The error.
        index: The place of the event, from 0.
    """
    context = {**error.context, "index": index}
    return type(error)(f"events[{index}]: {error}", code=error.code, context=context)


def write_drafts(drafts: Sequence[Draft], origin: Origin) -> list[str]:
    """Write events, their dedupe keys and their outbox items: all or nothing, in the caller's transaction if any.

    Args:
        drafts: The events.
        origin: What they have in common.

    Returns:
        Their ids, in order; for a key that was used before, the id of the event that has it.

    Raises:
        DuplicateEventError: If a dedupe key was used before with another type or payload.
        ArtifactUnavailable: If a large payload cannot be kept; nothing was written.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    chunks = [drafts] if len(drafts) == 1 else list(_chunks(drafts))
    keyed = any(draft.event.dedupe_key is not None for draft in drafts)
    # A lone statement joins the caller's transaction, or commits by itself.
    large = [draft.column for draft in drafts if type(draft.column) is Reference]
    for reference in large:
        save(reference)
    if not keyed and not large and len(chunks) == 1 and (connection.in_atomic_block or connection.get_autocommit()):
        return _write(chunks, origin, connection)

    def write() -> list[str]:
        # A savepoint only where keys that were taken, or artifacts, may have to be given back.
        bare = connection.in_atomic_block and not large and not (keyed and len(drafts) > 1)
        with nullcontext() if bare else transaction.atomic(DEFAULT_DB_ALIAS):
            return _write_new(drafts, origin, connection) if keyed else _write(chunks, origin, connection)

    return dialect_of(DEFAULT_DB_ALIAS).retrying(write)


def _write_new(drafts: Sequence[Draft], origin: Origin, connection: BaseDatabaseWrapper) -> list[str]:
    from automate.dedupe import claim_keys

    earlier = claim_keys(drafts, origin.created_at, connection)
    new = [draft for index, draft in enumerate(drafts) if index not in earlier]
    _write(list(_chunks(new)), origin, connection)
    return [earlier.get(index, draft.id) for index, draft in enumerate(drafts)]


def _chunks(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    chunk: list[Draft] = []
    room = _BYTES_PER_CHUNK
    for draft in drafts:
        if chunk and (len(chunk) == _EVENTS_PER_CHUNK or room < len(draft.canonical)):
            yield chunk
            chunk, room = [], _BYTES_PER_CHUNK
        chunk.append(draft)
        room -= len(draft.canonical)
    if chunk:
        yield chunk


def _write(chunks: Sequence[Sequence[Draft]], origin: Origin, connection: BaseDatabaseWrapper) -> list[str]:
    store, attempts = _store(), settings.current().item_attempts
    for chunk in chunks:
        if large := [draft for draft in chunk if type(draft.column) is Reference]:
            keep([(draft.column, Owner.EVENT, UUID(draft.id)) for draft in large])
        store.add_rows([_row(draft, attempts) for draft in chunk], _insert(chunk, origin, connection))
    drafts = [draft for chunk in chunks for draft in chunk]
    if drafts and event_received.receivers:
        _announce_later(drafts, origin)
    return [draft.id for draft in drafts]


@cache
def _store() -> DatabaseOutboxStore:
    """Return the store that items are added to; it claims nothing, so that all threads share it."""
    return get_store(DEFAULT_DB_ALIAS)


def _row(draft: Draft, attempts: int) -> NewRow:
    """Return the row of an item; what it holds was checked with the draft."""
    event, payload = draft.event, f'{{"event_id":"{draft.id}"}}'
    priority = int(event.priority)  # a function of the database takes neither 5.0 nor True
    return NewRow(EVENT_JOB, payload, priority, event.queue, event.ordering_key, draft.tenant, attempts, None)


def _insert(drafts: Sequence[Draft], origin: Origin, connection: BaseDatabaseWrapper) -> Along:
    """Return the INSERT of events."""
    vendor = connection.vendor
    created_at = connection.ops.adapt_datetimefield_value(origin.created_at)
    if vendor == "postgresql" and len(drafts) > 1:
        texts = _texts_json(drafts)
        payloads = f"[{','.join([_content(draft, vendor) for draft in drafts])}]"
        return Along(_INSERT + _FROM_JSON, [origin.causation_id, origin.depth, created_at, texts, payloads])
    as_id = str if connection.features.has_native_uuid_field else _hex
    cause = None if origin.causation_id is None else as_id(str(origin.causation_id))
    shared = (cause, origin.depth, created_at)
    values: list[Any] = []
    for draft in drafts:
        values += (*_texts(draft, as_id(draft.id)), _content(draft, vendor), *shared)
    return Along(f"{_INSERT}VALUES {', '.join([_VALUES] * len(drafts))}", values, _FUNCTION)


def _texts(draft: Draft, event_id: str) -> tuple[str, ...]:
    event = draft.event
    return event_id, event.type, event.source, event.subject, draft.tenant, event.traceparent


def _texts_json(drafts: Sequence[Draft]) -> str:
    """Return the texts of events as a JSON array; what many of them have in common is encoded once."""
    encoded: dict[tuple[str, ...], str] = {}
    objects = []
    for draft in drafts:
        shared = _texts(draft, draft.id)[1:]
        if (text := encoded.get(shared)) is None:
            text = encoded[shared] = json.dumps(dict(zip(list(_TEXTS)[1:], shared, strict=True)))[1:]
        objects.append(f'{{"id":"{draft.id}",{text}')
    return f"[{','.join(objects)}]"


def _hex(event_id: str) -> str:
    return event_id.replace("-", "")


def _content(draft: Draft, vendor: str) -> str:
    """Return what the payload column holds: the one place where a payload becomes the content of a column."""
    # Elsewhere JSON is text, and a filter on the whole payload compares with the text that Django writes.
    if vendor == "postgresql" and type(draft.column) is not Reference:
        return draft.canonical.decode()
    return json.dumps(draft.column)


def _announce_later(drafts: Sequence[Draft], origin: Origin) -> None:
    from automate.models import Event

    if event_received.has_listeners(Event):
        transaction.on_commit(lambda: _announce(drafts, origin), using=DEFAULT_DB_ALIAS)


def _announce(drafts: Sequence[Draft], origin: Origin) -> None:
    from automate.models import Event

    for draft in drafts:
        send(event_received, Event, event=_model(draft, origin))


def _model(draft: Draft, origin: Origin) -> Event:
    """Return an event as if it had been read, without reading it."""
    from automate.models import Event

    fields = {
        "id": UUID(draft.id),
        "type": draft.event.type,
        "payload": draft.column,
        "source": draft.event.source,
        "subject": draft.event.subject,
        "tenant": draft.tenant,
        "traceparent": draft.event.traceparent,
        "causation_id": origin.causation_id,
        "causation_depth": origin.depth,
        "created_at": origin.created_at,
    }
    return Event.from_db(DEFAULT_DB_ALIAS, list(fields), list(fields.values()))
