"""A server that gives back what it is sent: in bodies, headers, errors and redirects, and as a language model."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import quote

__all__ = ["Echo"]


class _Handler(BaseHTTPRequestHandler):
    server: Echo
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("content-length", 0))))

    def _answer(self, body: bytes) -> None:
        token = self.headers.get("x-token", "")
        self.server.received.append((self.path, dict(self.headers), body))
        path = self.path.partition("?")[0]
        if path == "/v1/chat/completions":
            self._model(body)
        elif path == "/redirect":
            self._send(302, b"", {"Location": f"/landed?token={quote(token)}"})
        elif path == "/lost":
            self._send(302, b"", {"Location": f"http://user:{quote(token, safe='')}@127.0.0.1:9/?t={quote(token)}"})
        else:
            status = {"/refused": 403, "/broken": 500}.get(path, 200)
            echo = {"path": self.path, "headers": dict(self.headers), "body": body.decode("utf-8", "replace")}
            kind = "application/json" if path != "/text" else "text/plain; charset=utf-8"
            self._send(status, json.dumps(echo).encode(), {"Content-Type": kind, "X-Echo": token})

    def _model(self, body: bytes) -> None:
        asked = json.loads(body)["messages"][-1]["content"]
        if "refuse" in asked:
            error = {
                "error": {
                    "message": f"not {asked} of {self.headers['authorization']}",
                    "type": "invalid_request_error",
                    "code": None,
                }
            }
            self._send(400, json.dumps(error).encode(), {"Content-Type": "application/json"})
            return
        message = {"role": "assistant", "content": f"You said {asked} and sent {self.headers['authorization']}"}
        answer: dict[str, Any] = {
            "id": "c-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
        }  # fmt: skip
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Echo(ThreadingHTTPServer):
    """The server, on a free port of the loopback; use it in a ``with`` statement.

    Attributes:
        received: Path, headers and body of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Echo:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
