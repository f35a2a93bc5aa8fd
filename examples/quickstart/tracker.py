"""A tiny issue tracker on the loopback address, so that the demo has somebody to call."""

from __future__ import annotations

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Tracker:
    """Answers ``POST /tickets`` and ``POST /pages``; the first page of each kind meets a busy pager."""

    def __init__(self) -> None:
        self.tickets: list[object] = []
        self._ids = itertools.count(1)
        self._busy = True
        tracker = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = tracker.answer(self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    def answer(self, path: str, body: object) -> tuple[int, dict[str, object]]:
        """Answer one request."""
        if path == "/pages" and self._busy:
            self._busy = False
            return 503, {"error": "the pager is busy"}
        self.tickets.append(body)
        return 201, {"id": f"{path.strip('/')[:-1]}-{next(self._ids)}"}

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
