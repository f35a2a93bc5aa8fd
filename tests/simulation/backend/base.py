"""SQLite in memory, behind a seam at which statements and commits can go wrong."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from django.db.backends.sqlite3 import base

__all__ = ["DatabaseWrapper", "Seam"]


class Seam(Protocol):
    """Decides what becomes of the connection."""

    raw: Any

    def committing(self) -> None: ...

    def committed(self) -> None: ...

    def rolled_back(self) -> None: ...

    def is_connected(self) -> bool: ...

    def reconnect(self) -> None: ...


class DatabaseWrapper(base.DatabaseWrapper):
    """SQLite's wrapper; without a seam it is nothing else."""

    seam: ClassVar[Seam | None] = None

    def get_new_connection(self, conn_params: Any) -> Any:
        return super().get_new_connection(conn_params) if self.seam is None else self.seam.raw

    def close(self) -> None:
        if self.seam is None:
            super().close()
        else:
            self.seam.reconnect()

    def is_usable(self) -> bool:
        return True if self.seam is None else self.seam.is_connected()

    def _commit(self) -> None:
        if self.seam is not None:
            self.seam.committing()
        super()._commit()  # type: ignore[misc]  # Django's, which the stubs leave out
        if self.seam is not None:
            self.seam.committed()

    def _rollback(self) -> None:
        super()._rollback()  # type: ignore[misc]
        if self.seam is not None:
            self.seam.rolled_back()
