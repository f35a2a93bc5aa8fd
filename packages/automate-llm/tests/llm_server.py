"""Servers for tests of LLM providers, on loopback alone. Standard library only; the tests of the workspace use it too.

- :class:`MockAI` starts mock-ai-api, which somebody else wrote, from an environment of its own.
- :class:`LoopbackLLM` is ours: it answers like both vendors, repeats itself, and fails as it is told.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

MOCK_AI = "mock-ai-api==0.1.1"
APPS = {"openai": "app.openai_app:app", "anthropic": "app.anthropic_app:app"}


# -- the independent server -------------------------------------------------------------------------------------------


class MockAI:
    """mock-ai-api on two free ports.

    Its own command starts two servers in process groups of their own; here both are started without it, so that each is
    a child of ours and is stopped by its process id.
    """

    def __init__(self) -> None:
        self.ports = {name: _free_port() for name in APPS}
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI's SDK."""
        return f"http://127.0.0.1:{self.ports['openai']}/v1"

    @property
    def anthropic_url(self) -> str:
        """The base URL for Anthropic's SDK."""
        return f"http://127.0.0.1:{self.ports['anthropic']}"

    def start(self) -> None:
        """Start both servers and wait until they answer; OSError or CalledProcessError where they do not."""
        python = _environment()
        for name, app in APPS.items():
            command = [str(python), "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(self.ports[name])]
            self._processes.append(
                subprocess.Popen(
                    [*command, "--log-level", "warning"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
                )
            )
        for process, port in zip(self._processes, self.ports.values(), strict=True):
            _wait_for(process, f"http://127.0.0.1:{port}/health")

    def stop(self) -> None:
        """Stop both."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def require_mock_ai() -> Iterator[MockAI]:
    """Run mock-ai-api; where it cannot be had, a visible skip, or a failure where CI=true."""
    import pytest

    server = MockAI()
    try:
        try:
            server.start()
        except (OSError, subprocess.CalledProcessError) as error:
            problem = f"mock-ai-api cannot be started: {error}"
            if os.environ.get("CI", "").lower() == "true":
                pytest.fail(problem, pytrace=False)
            else:
                pytest.skip(problem)
        yield server
    finally:
        server.stop()


def _environment() -> Path:
    """Make the environment once; the name of its folder says what is in it, and it appears when it is complete."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = _cache() / f"{MOCK_AI.replace('==', '-')}-py{version}"
    binaries = "Scripts" if os.name == "nt" else "bin"
    if not (folder / "complete").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        if uv := shutil.which("uv"):
            _run(uv, "venv", "--clear", "--python", sys.executable, str(folder))
            _run(uv, "pip", "install", "--python", str(folder / binaries / "python"), MOCK_AI)
        else:
            _run(sys.executable, "-m", "venv", "--clear", str(folder))
            _run(str(folder / binaries / "python"), "-m", "pip", "install", MOCK_AI)
        (folder / "complete").touch()
    return folder / binaries / "python"


def _cache() -> Path:
    if given := os.environ.get("AUTOMATE_TEST_CACHE"):
        return Path(given)
    root = next((p for p in Path(__file__).resolve().parents if (p / "packages").is_dir()), Path.cwd())
    return root / ".cache"


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(process: subprocess.Popen[bytes], url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    give_up = time.monotonic() + 60
    while True:
        try:
            with opener.open(url, timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > give_up:
                raise OSError(f"the server at {url} does not answer (exit status {process.poll()})") from None
            time.sleep(0.05)


# -- our own server ---------------------------------------------------------------------------------------------------


class Answer:
    """One answer to give instead of the usual one.

    Args:
        status: The HTTP status.
        body: JSON, or bytes as they are.
        headers: Further headers.
        delay: Seconds before the answer.
        drip: Seconds between bytes of the body, as a proxy does that keeps a connection alive.
        drop: Close the connection without an answer.
    """

    def __init__(
        self,
        status: int = 200,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        delay: float = 0,
        drip: float = 0,
        drop: bool = False,
    ) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {"Content-Type": "application/json", **(headers or {})}
        self.delay = delay
        self.drip = drip
        self.drop = drop


class LoopbackLLM:
    """A server that answers ``POST …/chat/completions`` and ``POST …/messages`` as the vendors do.

    The answer repeats the last message, or is what :attr:`replies` has for it, so that documentation can show a
    conversation. :attr:`answers` come first, one for each request. What came in is in :attr:`requests`.
    """

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.replies: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def address(self) -> str:
        """``http://127.0.0.1:port``; OpenAI's SDK wants ``/v1`` behind it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return self._server.server_port

    def settings(self, **llm: Any) -> dict[str, Any]:
        """Settings in the form of ``DJANGO_AUTOMATE`` that send both providers here, with keys from the environment.

        Args:
            **llm: Further settings of the section LLM.
        """
        providers = {"openai": {"base_url": f"{self.address}/v1"}, "anthropic": {"base_url": self.address}}
        return {"LLM": {"providers": providers, **llm}}

    def __enter__(self) -> LoopbackLLM:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """Return the usual answer to a request."""
        text = body["messages"][-1]["content"]
        text = self.replies.get(text, text)
        if path.endswith("/chat/completions"):
            return Answer(200, openai_completion(text, body["model"]))
        if path.endswith("/messages"):
            return Answer(200, anthropic_message(text, body["model"]))
        return Answer(404, {"error": {"message": f"no such path: {path}"}})


def openai_completion(text: str | None, model: str, **message: Any) -> dict[str, Any]:
    """A chat completion as OpenAI's reference describes it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None, **message},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }


def anthropic_message(text: str, model: str, stop_reason: str = "end_turn") -> dict[str, Any]:
    """A message as Anthropic's reference describes it."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 4,
            "output_tokens": 3,
            "cache_creation_input_tokens": 2,
            "cache_read_input_tokens": 3,
        },
    }


def _handler(server: LoopbackLLM) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append(
                {
                    "path": self.path,
                    "peer": self.client_address,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    "body": body,
                }
            )
            answer = server.answers.popleft() if server.answers else server.answer(self.path, body)
            server.closing.wait(answer.delay)
            if answer.drop:
                self.close_connection = True
                return
            try:
                self._give(answer)
            except ConnectionError:
                self.close_connection = True

        def _give(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if not answer.drip:
                self.wfile.write(answer.body)
                return
            for byte in answer.body:
                if server.closing.wait(answer.drip):
                    return
                self.wfile.write(bytes([byte]))

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
