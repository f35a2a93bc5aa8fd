"""One hunt: a project of its own, real worker processes, and everything that they left."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.databases import Database

from leaks.app.names import DB, ENV
from leaks.backends import Backends
from leaks.kinds import needles

__all__ = ["Hunt"]

TESTS = Path(__file__).resolve().parents[1]
_SECONDS = 240
_KEY = base64.b64encode(bytes(range(32))).decode()


@dataclass
class Hunt:
    """A project in a folder, over a database of its own.

    Args:
        folder: Where its files go.
        database: The database, empty.
        schema: ``LOGGING_SCHEMA``.
        server: Host and port of the echoing server.
        secrets: The secrets, by name.
        backends: Where some of them are kept.

    Attributes:
        places: What was left, by where it was found.
        received: What the server was sent.
    """

    folder: Path
    database: Database
    schema: str
    server: str
    secrets: dict[str, str]
    backends: Backends
    places: dict[str, bytes] = field(default_factory=dict)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def needles(self) -> dict[str, list[str]]:
        """What must be seen nowhere: of the secrets what is random, the key that encrypts, and all credentials."""
        credentials = {**self.backends.credentials, **self.backends.tokens(), "LEAKS_KEY": _KEY}
        return needles(self.secrets) | {name: [text] for name, text in credentials.items()}

    def prepare(self) -> None:
        """Make the tables, publish the workflow, and store the secrets that the database keeps."""
        self.manage("migrate", "--verbosity", "0")
        for name in DB:
            self.manage("automate", "secrets", "set", name, text=self.secrets[name])
        self.manage("automate_sync")
        self.script("leaks.emit")

    def work(self) -> None:
        """Run workers until nothing is due any more."""
        for turn in range(20):
            log = self.manage("automate_worker", "--drain", "--poll", "0.05", "--verbosity", "3")
            self.places[f"output of worker {turn}"] = log
            if not self.database.query(
                "SELECT 1 FROM automate_outbox_job WHERE status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')"
            ):
                return
        raise AssertionError("the outbox does not come to rest")

    def collect(self) -> None:
        """Gather everything that the project left, and what it shows."""
        commands = (
            ("automate", "dlq", "list"), ("automate", "dlq", "list", "--flat", "--json"),
            ("automate", "dlq", "show", *self._dead()), ("automate", "dlq", "show", "--json", *self._dead()),
            ("automate", "rules", "explain", self._event()), ("automate", "rules", "explain", "--json", self._event()),
            ("automate", "size"), ("automate", "events", "schemas"), ("automate_doctor",),
            ("automate", "secrets", "list"), ("automate", "workflows", "list"),
            ("automate", "secrets", "check"), ("automate", "audit", "list"), ("automate", "audit", "export"),
            ("automate", "audit", "verify"), ("automate", "policy", "show"), ("automate", "policy", "check"),
        )  # fmt: skip
        for command in commands:
            self.places[" ".join(command[:4])] = self.manage(*command, check=False)
        pages = self.folder / "pages"
        self.script("leaks.pages", str(pages))
        for file in sorted(pages.iterdir()):
            self.places[f"page {file.name}"] = file.read_bytes()
        # Last: commands and pages leave rows, log lines and mails too.
        self.places |= dict(self._tables())
        for file in sorted(self.folder.rglob("*")):
            if file.is_file() and "pages" not in file.parts:
                self.places[str(file.relative_to(self.folder))] = file.read_bytes()

    def _tables(self) -> Iterator[tuple[str, bytes]]:
        names = (
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            if self.database.kind == "sqlite"
            else "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        for (table,) in self.database.query(names):
            rows = self.database.query(f'SELECT * FROM "{table}"')
            yield f"table {table}", b"\n".join(_bytes(cell) for row in rows for cell in row)

    def _dead(self) -> list[str]:
        return [
            str(row[0]) for row in self.database.query("SELECT id FROM automate_outbox_job WHERE status = 'FAILED'")
        ]

    def _event(self) -> str:
        return str(self.database.query("SELECT CAST(id AS CHAR(36)) FROM automate_event")[0][0])

    # -- processes --------------------------------------------------------------------------------------------------

    def manage(self, *arguments: str, text: str = "", check: bool = True) -> bytes:
        """Run a command of the project.

        Args:
            *arguments: The command.
            text: Its standard input.
            check: Whether it must succeed.

        Returns:
            What it printed, on both streams.
        """
        return self._run("django", *arguments, text=text, check=check)

    def script(self, module: str, *arguments: str) -> None:
        """Run a module of the hunt in a process of the project.

        Args:
            module: The module.
            *arguments: Its arguments.
        """
        self._run(module, *arguments)

    def _run(self, module: str, *arguments: str, text: str = "", check: bool = True) -> bytes:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment(),
            timeout=_SECONDS, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{module} {arguments}: {done.stdout[-3000:]!r}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        config: dict[str, Any] = {
            "kind": self.database.kind,
            "database": self.database.config,
            "media": str(self.folder / "media"),
            "log": str(self.folder / "project.log"),
            "mails": str(self.folder / "mails"),
            "schema": self.schema,
            "secrets": self.backends.settings,
            "server": self.server,
        }
        return {
            **os.environ,
            **self.backends.environment,
            **{f"LEAKS_{name}": self.secrets[name] for name in ENV},
            "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)]),
            "PYTHONIOENCODING": "utf-8",
            "DJANGO_SETTINGS_MODULE": "leaks.settings",
            "LEAKS_CONFIG": json.dumps(config),
            "LEAKS_LLM_KEY": self.secrets["HEX_TOKEN"],
            "LEAKS_KEY": _KEY,
            "LEAKS_SERVER": self.server,
        }


def _bytes(cell: object) -> bytes:
    if isinstance(cell, bytes | memoryview):
        return bytes(cell)
    return (json.dumps(cell) if isinstance(cell, dict | list) else str(cell)).encode()
