"""How the Vault that tests talk to speaks HTTP. See :mod:`vault_server`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple, Protocol

from vault_engines import NOTHING, Answer, Refusal


class Reply(NamedTuple):
    """An answer on its way out."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Server(Protocol):
    """What the handler asks."""

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """Answer one request; None drops the connection."""


def parsed(body: bytes) -> Mapping[str, Any]:
    """Read the body of a request; :class:`Refusal` unless it is a JSON object, or empty."""
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal(400, "failed to parse JSON input")
    return found


def json_reply(status: int, body: Any) -> Reply:
    """Make a reply of JSON."""
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def enveloped(answer: Answer) -> Reply:
    """Put Vault's envelope around an answer."""
    if answer.status == NOTHING.status:
        return Reply(answer.status, b"", {})
    return json_reply(
        answer.status,
        {
            "request_id": str(uuid.uuid4()),
            "lease_id": "",
            "renewable": False,
            "lease_duration": answer.lease_duration,
            "data": answer.data,
            "wrap_info": None,
            "warnings": answer.warnings,
            "auth": answer.auth,
        },
    )


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    """Make the class that hands each request to the server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = server.handle(self.command, self.path, self.headers, body)  # type: ignore[arg-type]  # a Message
            if reply is None:
                self.close_connection = True
                return
            try:
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else reply.body)
            except ConnectionError:
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_LIST = do_PATCH = _serve

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
