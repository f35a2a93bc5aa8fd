"""What the tests of waking work with: an emitter, a bell, a proxy that swallows everything, and pgbouncer."""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

EMITTER = """
import json, sys, django
from django.conf import settings
alias, databases = json.loads(sys.argv[1])
settings.configure(DATABASES=databases, INSTALLED_APPS=["automate_outbox"], USE_TZ=True)
django.setup()
from automate_core.outbox import NewJob
from automate_outbox.store import get_store
from django.db import transaction
with transaction.atomic(using=alias):
    get_store(alias).add([NewJob("test")])
    print("written", flush=True)
    sys.stdin.readline()
"""


class Bell:
    """Counts its rings, and waits for more."""

    def __init__(self) -> None:
        self.rings = 0
        self._rang = threading.Condition()

    def __call__(self) -> None:
        with self._rang:
            self.rings += 1
            self._rang.notify_all()

    def wait_beyond(self, rings: int) -> None:
        with self._rang:
            assert self._rang.wait_for(lambda: self.rings > rings, 30), f"it rang {rings} times, and no more"


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)
    return result


class Proxy:
    """Passes TCP connections on, until it is told to swallow what they say without closing them.

    Args:
        address: Host and port, or the folder of a Unix socket and its port.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.accepted = 0
        self._address = address
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._sockets = [self._server]
        self._swallowed: set[socket.socket] = set()
        self._swallows_new = False
        self._closing = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def swallow(self, *, also_new: bool = False) -> None:
        """Let nothing pass on the connections that exist, from now on."""
        self._swallows_new = also_new
        self._swallowed.update(self._sockets)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._selector.close()
        for one in self._sockets:
            one.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._server:
                    self._accept()
                else:
                    self._pass_on(key.data[0], key.data[1])

    def _accept(self) -> None:
        client, server = self._server.accept()[0], self._connect()
        self._sockets += [client, server]
        if self._swallows_new:
            self._swallowed.update((client, server))
        for pair in ((client, server), (server, client)):
            self._selector.register(pair[0], selectors.EVENT_READ, pair)
        self.accepted += 1

    def _connect(self) -> socket.socket:
        host, port = self._address
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        local = socket.socket(socket.AF_UNIX)
        local.connect(f"{host}/.s.PGSQL.{port}")
        return local

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            data = source.recv(65536)
            if source not in self._swallowed:
                target.sendall(data) if data else target.shutdown(socket.SHUT_WR)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(source)


@contextmanager
def transaction_pooler(database: dict[str, Any]) -> Iterator[int]:
    """Run pgbouncer in transaction mode before a database, and give its port; where it is missing, the test is
    skipped, or fails where ``CI=true``.

    Args:
        database: Django's entry for the database.
    """
    if PGBOUNCER is None:
        missing = pytest.fail if os.environ.get("CI", "").lower() == "true" else pytest.skip
        missing("pgbouncer is missing; apt-get install pgbouncer")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
    target = " ".join(f"{name}='{database[key]}'" for name, key in names.items() if database[key])
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "pgbouncer.ini")
        configuration.write_text(
            f"[databases]\n* = {target}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            "unix_socket_dir =\nauth_type = any\npool_mode = transaction\nignore_startup_parameters = options\n"
        )
        if user is not None:
            shutil.chown(folder, user)
            shutil.chown(configuration, user)
        command = [PGBOUNCER, "-q", str(configuration)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, user=user) as server:
            try:
                _wait_for(server, port)
                yield port
            finally:
                server.terminate()


def _wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert server.poll() is None, f"pgbouncer ended with {server.returncode}"
        time.sleep(0.02)
    raise AssertionError("pgbouncer does not listen")
