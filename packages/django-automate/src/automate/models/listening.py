"""What tells workers that other versions listen: a stamp that changes with whatever may change that."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.db import connections, models, router, transaction

from automate.models.tenants import TenantModel, TenantQuerySet

__all__ = ["ListeningModel", "ListeningQuerySet", "ListeningStamp", "change_stamp", "hold_stamp", "read_stamp"]

_ONLY = 1

_Row = TypeVar("_Row", bound=models.Model, covariant=True)


class ListeningStamp(models.Model):
    """One row, which is written in the transaction of every change to workflows and their versions.

    The stamp is drawn and not counted: one that was rolled back is never seen again, with other versions behind it.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=_ONLY)
    stamp = models.UUIDField()

    class Meta:
        """There is one."""

        verbose_name = "stamp of what listens"

    def __str__(self) -> str:
        return str(self.stamp)


def read_stamp(using: str) -> str:
    """Return the stamp: as long as it is the same, the same versions listen.

    Args:
        using: The database.
    """
    # Each turn of a worker asks: composing the statement anew would cost more than the database needs for it.
    if not (stamp := _read(using)):
        change_stamp(using)
        stamp = _read(using)
    return stamp


def _read(using: str) -> str:
    table = connections[using].ops.quote_name(ListeningStamp._meta.db_table)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT stamp FROM {table} WHERE id = {_ONLY}")  # noqa: S608 - the name of a model alone
        row = cursor.fetchone()
    return "" if row is None else str(row[0])


def change_stamp(using: str) -> None:
    """Change the stamp, and make others who want to wait until the transaction has ended.

    Call it in the transaction of the change and before it: those that change several workflows at once then wait for
    each other here, and not crosswise.

    Args:
        using: The database.
    """
    _write(using, uuid4())


def hold_stamp(using: str) -> None:
    """Do what :func:`change_stamp` does, and leave the stamp as it is: for what may turn out to change nothing.

    Args:
        using: The database.
    """
    _write(using, models.F("stamp"))


def _write(using: str, stamp: UUID | models.F) -> None:
    row = ListeningStamp.objects.using(using).filter(pk=_ONLY)
    if not row.update(stamp=stamp):
        # It is not there before the first change, nor after a test that emptied its tables.
        ListeningStamp.objects.using(using).bulk_create([ListeningStamp(stamp=uuid4())], ignore_conflicts=True)
        row.update(stamp=stamp)


@contextmanager
def _changing(using: str) -> Iterator[None]:
    # Without a savepoint, like Django's own writes: what goes wrong in one spoils the transaction around it.
    with transaction.atomic(using=using, savepoint=False):
        change_stamp(using)
        yield


class ListeningQuerySet(TenantQuerySet[_Row]):
    """Rows that say which versions listen: the stamp changes with them."""

    def update(self, **kwargs: Any) -> int:
        """Change rows.

        Args:
            **kwargs: As in Django.
        """
        with _changing(self._target()):
            return super().update(**kwargs)

    update.alters_data = True  # type: ignore[attr-defined] # templates must not call it

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete rows."""
        with _changing(self._target()):
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined] # as above
    delete.queryset_only = True  # type: ignore[attr-defined] # a manager has no such method

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Insert rows.

        Args:
            objs: The rows.
            *args: As in Django.
            **kwargs: As in Django.
        """
        with _changing(self._target()):
            return super().bulk_create(objs, *args, **kwargs)

    def _target(self) -> str:
        self._for_write = True  # as Django's own methods say it before they ask the router
        return self.db


class ListeningModel(TenantModel):
    """A row that says which versions listen: the stamp changes with it.

    One of no tenant is for the events of all of them, so everybody sees it.
    """

    class Meta:
        """Abstract."""

        abstract = True

    @classmethod
    def within(cls, tenants: Collection[str]) -> models.Q:
        """Return the condition that a row is for the events of some tenants.

        Args:
            tenants: Their names.
        """
        return super().within(["", *tenants])

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        """Write the row.

        Args:
            *args: As in Django.
            **kwargs: As in Django.
        """
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with _changing(using):
            super().save_base(*args, **{**kwargs, "using": using})

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete the row.

        Args:
            using: As in Django.
            keep_parents: As in Django.
        """
        using = using or router.db_for_write(type(self), instance=self)
        with _changing(using):
            return super().delete(using, keep_parents)
