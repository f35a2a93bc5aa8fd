"""Turning the table of events into partitions, while emitters write to it.

A partitioned table is made beside the old one, the old one is proven to fit into it as its first partition, and both
change places in one short transaction. No row moves. What was done is read from the catalog, so that a conversion that
was killed goes on where it stood.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from automate_core.errors import ConfigurationError
from automate_core.ids import uuid7_floor
from django.db import IntegrityError, transaction

from automate.partitions.attachments import Attachments, refuse_unfit
from automate.partitions.catalog import BOUND, DEFAULT, LEGACY, SHADOW, TABLE, Catalog, time_of
from automate.partitions.locks import locking
from automate.partitions.months import bounds, month_of, months, name_of, next_month

__all__ = ["MONTHS_AHEAD", "SAFE", "Conversion", "attach_month"]

MONTHS_AHEAD = 3
"""Months after the current one that have a partition already."""
SAFE = timedelta(days=3)
"""The old table takes no event from its bound on; an unfinished conversion may not come nearer to it than this."""
_ROOM = timedelta(days=7)


class Conversion:
    """One conversion.

    Args:
        using: Alias of a PostgreSQL database.
        say: Is told each step when it is done.
        begin: Is called within the first transaction, to put on record that it begins.
    """

    def __init__(self, using: str, say: Callable[[str], None], begin: Callable[[], None] = lambda: None) -> None:
        self._using = using
        self._say = say
        self._begin = begin
        self._catalog = Catalog(using)

    def run(self, now: datetime) -> None:
        """Convert the table, or finish what an earlier conversion began.

        Args:
            now: The time.

        Raises:
            ConfigurationError: If something about the table cannot be carried over; nothing was changed.
            AutomateError: If a lock was not to be had; ``retryable``.
        """
        refuse_unfit(self._catalog)
        bound = self._bound(now)
        self._refuse_ids_from(bound)
        with transaction.atomic(using=self._using):
            self._make_shadow(bound, now)
            self._begin()
        self._say(f"made the partitioned table beside the old one, with {MONTHS_AHEAD} months ahead")
        if self._catalog.bound() != (bound, True):
            locking(self._using, lambda: self._add_bound(bound))
            self._say(f"bounded the old table by {time_of(bound):%Y-%m-%d}")
            self._validate(bound)
            self._say("checked that every event lies within the bound")
        locking(self._using, lambda: self._swap(bound))
        self._say("swapped the tables; the old one is the first partition")
        self._catalog.execute(f"ANALYZE {self._catalog.name()}")
        self._say("analyzed")

    def _bound(self, now: datetime) -> UUID:
        """Return where the old table ends: the bound of an earlier attempt while it is far off, else a new one."""
        earlier = self._catalog.bound()
        if earlier and time_of(earlier[0]) > now + SAFE:
            return earlier[0]
        return uuid7_floor(next_month(month_of(now + _ROOM)))

    def _refuse_ids_from(self, bound: UUID) -> None:
        rows = self._catalog.query(
            f"SELECT count(*) FROM (SELECT 1 FROM {self._catalog.name()} WHERE id >= %s LIMIT 1000) AS head",  # noqa: S608
            [bound],
        )
        if rows[0][0]:
            raise ConfigurationError(
                f"{rows[0][0]} events (or more) have ids from {time_of(bound):%Y-%m-%d} on, which no clock gave them: "
                "an id begins with its time. Give them new ids, or delete them, with SQL; then convert.",
                context={"bound": str(bound)},
            )

    def _make_shadow(self, bound: UUID, now: datetime) -> None:
        catalog, name = self._catalog, self._catalog.name
        if catalog.kind(SHADOW):
            if catalog.query(f"SELECT 1 FROM {name(SHADOW)} LIMIT 1"):  # noqa: S608
                raise ConfigurationError(f"The table {SHADOW} holds rows that are not ours: rename it, then convert.")
            catalog.execute(f"DROP TABLE {name(SHADOW)}")
        first = time_of(bound)
        last = next_month(month_of(now))
        names = [LEGACY, DEFAULT, *(name_of(month) for month in months(first, MONTHS_AHEAD))]
        taken = [table for table in names if catalog.kind(table)]
        if taken:
            raise ConfigurationError(f"The names of partitions are taken: {', '.join(taken)}. Rename these tables.")
        catalog.execute(
            f"CREATE TABLE {name(SHADOW)} (LIKE {name()} INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS) "
            "PARTITION BY RANGE (id)",
            f"ALTER TABLE {name(SHADOW)} DROP CONSTRAINT IF EXISTS {BOUND}",
            f"CREATE TABLE {name(DEFAULT)} PARTITION OF {name(SHADOW)} DEFAULT",
        )
        Attachments(catalog).copy_to_shadow()
        ahead = [month for month in months(last, MONTHS_AHEAD) if month >= first] or [first]
        for month in ahead:
            attach_month(catalog, month, SHADOW)

    def _add_bound(self, bound: UUID) -> None:
        if self._catalog.is_partitioned:
            return
        table = self._catalog.name()
        self._catalog.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {BOUND}, "
            f"ADD CONSTRAINT {BOUND} CHECK (id < '{bound}') NOT VALID"
        )

    def _validate(self, bound: UUID) -> None:
        table = self._catalog.name()
        try:
            with transaction.atomic(using=self._using):  # reads the whole table, and lets everybody write meanwhile
                self._catalog.execute(
                    "SET LOCAL statement_timeout = 0", f"ALTER TABLE {table} VALIDATE CONSTRAINT {BOUND}"
                )
        except IntegrityError:
            locking(
                self._using, lambda: self._catalog.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {BOUND}")
            )
            self._refuse_ids_from(bound)
            raise

    def _swap(self, bound: UUID) -> None:
        catalog, name = self._catalog, self._catalog.name
        catalog.execute(f"LOCK TABLE {name()} IN ACCESS EXCLUSIVE MODE")
        if catalog.is_partitioned:
            return  # somebody else was faster
        if catalog.bound() != (bound, True):
            raise ConfigurationError(f"The constraint {BOUND} went away in the middle: convert again.")
        attachments = Attachments(catalog)
        attachments.detach()
        catalog.execute(
            f"ALTER TABLE {name()} RENAME TO {LEGACY}",
            f"ALTER TABLE {name(SHADOW)} RENAME TO {TABLE}",
            f"ALTER TABLE {name()} ATTACH PARTITION {name(LEGACY)} FOR VALUES FROM (MINVALUE) TO ('{bound}')",
            f"ALTER TABLE {name(LEGACY)} DROP CONSTRAINT {BOUND}",
        )
        attachments.attach()


def attach_month(catalog: Catalog, month: datetime, parent: str = TABLE) -> str:
    """Make the partition of a month, within the caller's transaction, which waits for locks as :func:`locking` does.

    It is made as a table of its own and attached, which lets everybody read the events of other partitions meanwhile.
    Events of the month that were written before their partition was there move into it.

    Args:
        catalog: The catalog.
        month: The beginning of the month.
        parent: The partitioned table.

    Returns:
        The name of the partition.
    """
    partition, name = name_of(month), catalog.name
    lower, upper = bounds(month)
    if catalog.kind(partition):
        raise ConfigurationError(f"The table {partition} exists and is no partition: rename it.")
    catalog.execute(
        # Until the partition is attached nobody adds to the default one. Emitters wait at the parent, as one that waits
        # at the default partition is refused afterwards: what it is about to write no longer belongs there.
        f"LOCK TABLE ONLY {name(parent)} IN SHARE ROW EXCLUSIVE MODE",
        f"LOCK TABLE {name(DEFAULT)} IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE {name(partition)} (LIKE {name(parent)} INCLUDING ALL)",
        f"WITH early AS (DELETE FROM {name(DEFAULT)} WHERE id >= '{lower}' AND id < '{upper}' RETURNING *) "  # noqa: S608
        f"INSERT INTO {name(partition)} SELECT * FROM early",
        f"ALTER TABLE {name(parent)} ATTACH PARTITION {name(partition)} FOR VALUES FROM ('{lower}') TO ('{upper}')",
    )
    return partition
