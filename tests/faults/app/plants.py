"""Bugs planted in a process under test, by changing the statements that it sends: each must be found by the checker."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from django.db.backends.signals import connection_created


def _ignored(condition: str) -> tuple[str, str]:
    return rf"(\bAND |\bWHERE |\()((?:\w+\.)?{condition})", r"\1(\2 OR 1 = 1)"


_TOKEN = _ignored(r"lease_token = [^\s),]+")
_OWNER = _ignored(r"lease_owner = [^\s),]+")
_CLAIMED = _ignored(r"status = 'CLAIMED'")

PLANTS: dict[str, list[tuple[str, str]]] = {
    "fence on the owner alone": [_TOKEN],
    "no fence": [_TOKEN, _OWNER, _CLAIMED],
    "crash not counted": [(r"crashes = (?:\w+\.)?crashes \+ 1", "crashes = crashes")],
    "attempt not charged": [(r"attempts = (?:\w+\.)?attempts \+ 1", "attempts = attempts")],
    "live leases reaped": [(r"lease_expires_at < ", "lease_expires_at <> ")],
}
"""Patterns in the statements over the outbox, and what they become."""


def install(bug: str) -> None:
    """Plant a bug into every connection of this process."""
    changes = [(re.compile(pattern), text) for pattern, text in PLANTS[bug]]
    connection_created.connect(lambda connection, **_: plant(connection, changes), weak=False, dispatch_uid="plants")


def plant(connection: Any, changes: list[tuple[re.Pattern[str], str]]) -> None:
    """Change what a connection sends, and leave a trace of it."""
    if getattr(connection, "faults_planted", False):
        return
    connection.faults_planted = True

    def change(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        changed = rewrite(sql, changes)
        if changed != sql:
            with open(os.environ["FAULTS_PLANTED"], "a", encoding="utf-8") as file:
                file.write(f"{changed}\n")
        return execute(changed, params, many, context)

    connection.execute_wrappers.append(change)


def rewrite(sql: str, changes: list[tuple[re.Pattern[str], str]]) -> str:
    """Return a statement with the bug in it; what is no statement over the outbox stays as it is."""
    if "automate_outbox_job" in sql and not sql.lstrip().startswith("INSERT"):
        for pattern, text in changes:
            sql = pattern.sub(text, sql)
    return sql
