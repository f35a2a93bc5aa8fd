"""A real HTTP server on loopback, and stub sockets for everything that is not loopback."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from automate_connectors.egress import EgressClient
from automate_core import settings
from automate_core.egress import EgressPolicy

sys.path.insert(0, str(Path(__file__).parent))  # egress_corpus, stub_internet


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Written as it is instead of an answer; then the connection is closed."""


Route = Answer | Callable[[Request], Answer]


class Server:
    """A loopback HTTP server: routes by path, and what it was asked."""

    answer = Answer

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.requests: list[Request] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, body)
                server.requests.append(request)
                route = server.routes.get(self.path.partition("?")[0], Answer(404, b"no such path"))
                server.write(self, route(request) if callable(route) else route)

            do_GET = do_HEAD = do_OPTIONS = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    @staticmethod
    def write(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.raw is not None:
            handler.wfile.write(answer.raw)
            handler.close_connection = True
            return
        body, headers = answer.body, {"Content-Type": "text/plain; charset=utf-8", **answer.headers}
        if not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **answer.headers}
        handler.send_response(answer.status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def make_server() -> Iterator[Callable[[], Server]]:
    servers: list[Server] = []

    def make() -> Server:
        servers.append(Server())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def server(make_server: Callable[[], Server]) -> Generator[Server]:
    """A server that the settings' policy allows by address and port."""
    made = make_server()
    settings.configure(settings.parse({"POLICY": {"egress_allow": [f"127.0.0.1:{made.port}"]}}))
    yield made
    settings.configure(None)


@pytest.fixture
def client(server: Server) -> Generator[EgressClient]:
    with EgressClient() as made:
        yield made


class Internet:
    """Names and addresses without a network: a stub resolver, and stub sockets that answer as told."""

    def __init__(self) -> None:
        self.names: dict[str, list[str] | list[list[str]] | Exception] = {}
        self.answers: dict[str, bytes] = {}
        self.resolved: list[str] = []
        self.connected: list[tuple[str, int]] = []
        self.received: list[bytes] = []
        self._threads: list[threading.Thread] = []

    def resolver(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        known = self.names[host]
        if isinstance(known, Exception):
            raise known
        if known and isinstance(known[0], list):
            turn = min(self.resolved.count(host), len(known)) - 1
            return list(known[turn])
        return [str(address) for address in known]

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        self.connected.append((address, port))
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=self._answer, args=(theirs,), daemon=True)
        thread.start()
        self._threads.append(thread)
        return ours

    def _answer(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(5)
            data = b""
            while b"\r\n\r\n" not in data:
                chunk = sock.recv(65536)
                if not chunk:
                    return
                data += chunk
            self.received.append(data)
            path = data.split(b" ", 2)[1].decode()
            ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
            sock.sendall(self.answers.get(path, ok))

    def client(self, policy: EgressPolicy | None = None, **options: Any) -> EgressClient:
        return EgressClient(
            policy or EgressPolicy(), resolver=self.resolver, connect=self.connect, timeout=5.0, **options
        )

    def close(self) -> None:
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def internet() -> Generator[Internet]:
    made = Internet()
    yield made
    made.close()
