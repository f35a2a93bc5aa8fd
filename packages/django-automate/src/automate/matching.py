"""Which workflows an event may concern: what listens, kept in memory, and found by what must hold."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from automate_core.errors import AutomateError
from automate_core.rules import CompiledRule, RuleIndex
from automate_core.rules import Engine as RuleEngine  # a worker has an engine, too
from automate_core.rules.engine import DEFAULT
from automate_core.workflow.compiled import compile_trigger_rule
from automate_core.workflow.events import patterns_for
from django.db import DEFAULT_DB_ALIAS

from automate.artifacts import content
from automate.rules import current_engine

if TYPE_CHECKING:
    from automate.models import Event, WorkflowVersion

__all__ = ["Listeners", "listeners"]

_LONGEST = 60.0
"""Seconds after which all is compared again, for what was changed without the stamp: by SQL, or as a fixture."""
_LOOKS = 20
"""How often what listens is looked up anew because it changed meanwhile."""
_TOGETHER = 500
"""Versions that are loaded with one statement."""

_Group = tuple[str, str]
"""The tenant of workflows, and the event type or pattern that they listen to."""


class Listeners:
    """The versions that listen, as of a stamp. It never changes; another set is made from what it has in common.

    Args:
        stamp: What :func:`~automate.models.listening.read_stamp` gave before they were looked up.
        facts: What is in the rows of each version and its workflow beside the definition, by id.
        versions: The versions by id, packed, with their workflows.
        groups: Their ids, by whose and which events they are for, and by their rules.
        engine: What compiled the rules.
    """

    __slots__ = ("_facts", "_groups", "_versions", "engine", "looked_at", "stamp")

    def __init__(
        self,
        stamp: str = "",
        facts: dict[int, tuple[Any, ...]] | None = None,
        versions: dict[int, WorkflowVersion] | None = None,
        groups: dict[_Group, RuleIndex[int]] | None = None,
        engine: RuleEngine = DEFAULT,
    ) -> None:
        self.stamp, self.looked_at, self.engine = stamp, time.monotonic(), engine
        self._facts, self._versions, self._groups = facts or {}, versions or {}, groups or {}

    def __len__(self) -> int:
        return len(self._versions)

    def all_for(self, event: Event) -> list[WorkflowVersion]:
        """Return every version that listens to events of this type and tenant.

        Args:
            event: The event.

        Returns:
            The versions, by slug.
        """
        return self._sorted(key for index in self._indexes(event) for key in index)

    def candidates_for(self, event: Event) -> list[WorkflowVersion]:
        """Return those of :meth:`all_for` that the event can match, as far as equalities tell.

        Args:
            event: The event.

        Returns:
            Every version that matches, and some that do not, by slug.

        Raises:
            ArtifactError: If the payload is large, is needed and cannot be read.
        """
        indexes = list(self._indexes(event))
        payload = content(event.payload) if any(index.is_selective for index in indexes) else None
        return self._sorted(key for index in indexes for key in index.candidates(payload))

    def _indexes(self, event: Event) -> Iterator[RuleIndex[int]]:
        tenants = ("", event.tenant) if event.tenant else ("",)
        for pattern in patterns_for(event.type):
            for tenant in tenants:
                if (index := self._groups.get((tenant, pattern))) is not None:
                    yield index

    def _sorted(self, keys: Iterable[int]) -> list[WorkflowVersion]:
        return sorted(
            (self._versions[key] for key in keys), key=lambda version: (version.workflow.slug, version.version_num)
        )

    def renewed(self, stamp: str, using: str) -> Listeners:
        """Look up what listens now; only what has changed is loaded.

        Args:
            stamp: The stamp, read before.
            using: The database.
        """
        facts = _facts(using)
        stale = {key for key, known in self._facts.items() if facts.get(key) != known}
        fresh = facts.keys() - (self._facts.keys() - stale)
        if not stale and not fresh:
            return Listeners(stamp, self._facts, self._versions, self._groups, self.engine)
        versions = {key: version for key, version in self._versions.items() if key not in stale}
        rules: dict[int, CompiledRule | None] = {}
        for version in _load(using, sorted(fresh)):
            rules[version.pk] = _rule_of(version, self.engine)
            version.pack()
            versions[version.pk] = version
        groups = dict(self._groups)
        leaving = _grouped(self._versions[key] for key in stale)
        coming = _grouped(versions[key] for key in rules)
        for group in leaving.keys() | coming.keys():
            index = groups.get(group, RuleIndex())
            added = [(key, rules[key]) for key in coming.get(group, ())]
            groups[group] = index = index.updated(added, leaving.get(group, ()))
            if not index:
                del groups[group]
        # A version that went between the two statements is looked for again, should it come back.
        return Listeners(stamp, {key: facts[key] for key in versions}, versions, groups, self.engine)


def _grouped(versions: Iterable[WorkflowVersion]) -> dict[_Group, list[int]]:
    groups: dict[_Group, list[int]] = {}
    for version in versions:
        groups.setdefault((version.workflow.tenant, version.trigger_event), []).append(version.pk)
    return groups


def _facts(using: str) -> dict[int, tuple[Any, ...]]:
    """Return what the rows of each listening version and its workflow hold beside JSON, in one statement."""
    from django.db.models import JSONField

    from automate.models import Workflow, WorkflowVersion

    own = [field.attname for field in WorkflowVersion._meta.concrete_fields if not isinstance(field, JSONField)]
    names = [*own, *(f"workflow__{field.attname}" for field in Workflow._meta.concrete_fields)]
    rows = WorkflowVersion.objects.using(using).listening().order_by().values_list("pk", *names)
    return {row[0]: row for row in rows}


def _load(using: str, keys: list[int]) -> Iterator[WorkflowVersion]:
    from automate.models import WorkflowVersion

    rows = WorkflowVersion.objects.using(using).select_related("workflow").defer("lock").order_by()
    for start in range(0, len(keys), _TOGETHER):
        yield from rows.filter(pk__in=keys[start : start + _TOGETHER])


def _rule_of(version: WorkflowVersion, engine: RuleEngine) -> CompiledRule | None:
    trigger = version.trigger_spec
    try:
        return compile_trigger_rule(trigger.get("rule"), engine) if isinstance(trigger, dict) else None
    except AutomateError:
        return None  # always asked, and so whoever asks says for each event what is wrong with it


_known: dict[str, Listeners] = {}


def listeners(using: str = DEFAULT_DB_ALIAS) -> Listeners:
    """Return the versions that listen, no older than what was committed before the call.

    Args:
        using: The database.

    Returns:
        The versions; one statement tells that those of the last time still are.
    """
    from automate.models.listening import read_stamp

    stamp, engine, known = read_stamp(using), current_engine(), _known.get(using)
    if known is None or known.engine is not engine:
        known = Listeners(engine=engine)
    # Of threads that find it out of date together each looks by itself; whose result is kept does not matter.
    for _ in range(_LOOKS):
        if known.stamp == stamp and time.monotonic() - known.looked_at <= _LONGEST:
            break
        known = _known[using] = known.renewed(stamp, using)
        # It took several statements: what was changed between them must not be half of what is decided by.
        stamp = read_stamp(using)
    return known
