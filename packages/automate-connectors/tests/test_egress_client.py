"""The egress client over real loopback connections: redirects, credentials, limits, deadlines, reuse."""

from __future__ import annotations

import gzip
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from automate_connectors.egress import EgressClient, EgressResponse, EgressTransport, egress_client, parse_retry_after
from automate_core import settings
from automate_core.egress import EgressPolicy
from automate_core.errors import (
    AutomateError,
    InvalidInputError,
    PermanentError,
    RateLimited,
    SSRFBlocked,
    TransientError,
)
from automate_core.redaction import forget, remember
from hypothesis import given
from hypothesis import strategies as st


def test_what_is_asked_arrives(server: Any, client: EgressClient) -> None:
    server.routes["/a b/ü"] = server.routes["/a%20b/%C3%BC"] = server.answer(201, {"id": 7})
    response = client.request(
        "post", f"{server.url}/a b/ü?x=1", params={"y": ["1", 2, None], "z": True, "n": None}, json={"ü": 1.5},
        headers={"Authorization": "Bearer t", "X-Thing": "1"},
    )  # fmt: skip
    assert (response.status, response.json()) == (201, {"id": 7})
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/a%20b/%C3%BC?x=1&y=1&y=2&z=true")
    assert request.json == {"ü": 1.5}
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer t"
    client.request("PUT", server.url, data={"a": ["1", "2"], "b": "x y"})
    client.request("PATCH", server.url, content="grüße")
    assert [r.body for r in server.requests[1:]] == [b"a=1&a=2&b=x+y", "grüße".encode()]
    assert server.requests[1].headers["content-type"] == "application/x-www-form-urlencoded"


def test_the_environment_is_ignored(server: Any, client: EgressClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.routes["/"] = server.answer(body=b"direct")
    with EgressClient() as fresh:
        assert fresh.request("GET", server.url).content == client.request("GET", server.url).content == b"direct"


def test_cookies_are_not_kept(server: Any, client: EgressClient) -> None:
    server.routes["/"] = server.answer(headers={"Set-Cookie": "session=1"})
    client.request("GET", server.url)
    client.request("GET", server.url)
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize(
    ("status", "method", "then", "keeps_body"),
    [
        (301, "POST", "GET", False), (302, "POST", "GET", False), (303, "POST", "GET", False),
        (303, "PUT", "GET", False), (301, "PUT", "PUT", True), (307, "POST", "POST", True),
        (308, "PATCH", "PATCH", True), (303, "HEAD", "HEAD", True),
    ],
)  # fmt: skip
def test_a_redirect_changes_the_method_as_browsers_do(
    status: int, method: str, then: str, keeps_body: bool, server: Any, client: EgressClient
) -> None:
    server.routes = {"/a": server.answer(status, headers={"Location": "b?c"}), "/b": server.answer(body=b"here")}
    response = client.request(method, f"{server.url}/a", content=b"body", headers={"Authorization": "t"})
    assert (response.status, response.url) == (200, f"{server.url}/b?c")
    request = server.requests[1]
    assert (request.method, request.body) == (then, b"body" if keeps_body else b"")
    assert request.headers["authorization"] == "t"
    assert client.request(method, f"{server.url}/a", follow_redirects=False).status == status


def test_credentials_stay_with_their_origin(server: Any, make_server: Callable[[], Any]) -> None:
    other = make_server()
    server.routes = {"/a": server.answer(307, headers={"Location": f"{other.url}/b"}), "/c": server.answer()}
    other.routes["/b"] = server.answer(307, headers={"Location": f"{server.url}/c"})
    secret = {"Authorization": "t", "Cookie": "t", "X-Api-Key": "t", "PRIVATE-TOKEN": "t", "X-Anything": "t"}
    with EgressClient(EgressPolicy(allow=("127.0.0.0/8",))) as client:
        response = client.request(
            "POST", f"{server.url}/a", headers={**secret, "Accept": "x/y", "Idempotency-Key": "k"}
        )
    assert response.status == 200
    for request in (*other.requests, server.requests[1]):
        assert not {name.lower() for name in secret} & set(request.headers)
        assert (request.headers["accept"], request.headers["idempotency-key"]) == ("x/y", "k")
    assert other.requests[0].headers["host"] == f"127.0.0.1:{other.port}"


def test_a_body_stays_with_its_origin(server: Any, make_server: Callable[[], Any]) -> None:
    other = make_server()
    server.routes["/a"] = server.answer(307, headers={"Location": f"{other.url}/b"})
    with EgressClient(EgressPolicy(allow=("127.0.0.0/8",))) as client:
        with pytest.raises(PermanentError, match="the body would go along"):
            client.request("POST", f"{server.url}/a", json=[1])
        assert client.request("POST", f"{server.url}/a", json=[1], follow_redirects=False).status == 307
    assert other.requests == []


def test_an_answer_tells_who_redirected(server: Any, make_server: Callable[[], Any]) -> None:
    other, client = make_server(), EgressClient(EgressPolicy(allow_private=True))
    server.routes.update({
        "/a": server.answer(302, headers={"Location": "/b?token=hidden"}),
        "/b": server.answer(302, headers={"Location": f"{other.url}/c"}),
        "/d": server.answer(),
    })  # fmt: skip
    other.routes["/c"] = other.answer(302, headers={"Location": f"{server.url}/d"})
    assert client.request("GET", f"{server.url}/a").redirects == (server.url, server.url, other.url)
    assert client.request("GET", f"{server.url}/d").redirects == ()
    assert client.request("GET", f"{server.url}/a", follow_redirects=False).redirects == ()


def test_redirects_end(server: Any, client: EgressClient) -> None:
    server.routes["/loop"] = server.answer(302, headers={"Location": "/loop"})
    with pytest.raises(PermanentError, match="more than 5 times"):
        client.request("GET", f"{server.url}/loop")
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"x" * 70_000, "identity"),
        (gzip.compress(b"0" * 50_000_000), "gzip"),
        (zlib.compress(b"0" * 50_000_000), "deflate"),
        (gzip.compress(gzip.compress(b"0" * 1_000_000)), "gzip, gzip"),
        (b"x", "br"),
        (b"not gzip at all", "gzip"),
    ],
    ids=["plain", "gzip bomb", "deflate bomb", "stacked", "not asked for", "broken"],
)
def test_an_answer_is_bounded_after_decompression(body: bytes, encoding: str, server: Any) -> None:
    server.routes["/"] = server.answer(body=body, headers={"Content-Encoding": encoding})
    with EgressClient(max_bytes=65_536) as client, pytest.raises(PermanentError):
        client.request("GET", server.url)


@pytest.mark.parametrize(("pack", "encoding"), [(gzip.compress, "gzip"), (zlib.compress, "deflate")])
def test_a_compressed_answer_is_unpacked(
    pack: Callable[[bytes], bytes], encoding: str, server: Any, client: EgressClient
) -> None:
    server.routes["/"] = server.answer(body=pack(b"0" * 1_000_000), headers={"Content-Encoding": encoding})
    assert client.request("GET", server.url).content == b"0" * 1_000_000
    assert client.request("HEAD", server.url).content == b""


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_an_endless_drip_ends_at_the_deadline(start: bytes, internet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    def drip(sock: Any) -> None:
        with sock, suppress(OSError):  # the client has given up, at once on a machine that is busy
            sock.sendall(start)
            while not stopped.wait(0.02):
                sock.sendall(b"H" if not start else b"x")

    monkeypatch.setattr(internet, "_answer", drip)
    with internet.client() as client, pytest.raises(AutomateError) as caught:
        client.request("GET", "http://1.1.1.1/", timeout=0.3)
    stopped.set()
    assert isinstance(caught.value, TransientError)


def test_a_name_server_that_does_not_answer_ends_at_the_deadline(internet: Any) -> None:
    asked, release = threading.Event(), threading.Event()

    def resolver(host: str, port: int) -> list[str]:
        asked.set()
        release.wait(10)
        return ["1.1.1.1"]

    with (
        EgressClient(EgressPolicy(), resolver=resolver, connect=internet.connect) as client,
        pytest.raises(TransientError, match="not resolved in time"),
    ):
        client.request("GET", "http://slow.example/", timeout=0.1)
    assert asked.is_set()
    release.set()
    assert internet.connected == []


def test_a_name_that_does_not_resolve_is_transient_and_opens_nothing(internet: Any) -> None:
    internet.names = {"gone.example": OSError("no such name"), "odd.example": UnicodeError("label too long")}
    with internet.client() as client:
        for host in internet.names:
            with pytest.raises(TransientError, match=f"{host} cannot be resolved"):
                client.request("GET", f"http://{host}/")
    assert internet.connected == []


def test_the_next_address_is_tried(internet: Any) -> None:
    internet.names = {"two.example": ["1.1.1.1", "8.8.8.8"]}
    connect = internet.connect

    def refuse_first(address: str, port: int, timeout: float) -> Any:
        if address == "1.1.1.1":
            raise ConnectionRefusedError(111, "refused")
        return connect(address, port, timeout)

    with EgressClient(EgressPolicy(), resolver=internet.resolver, connect=refuse_first) as client:
        assert client.request("GET", "http://two.example/").status == 200
    assert internet.connected == [("8.8.8.8", 80)]


def test_broken_connections_are_transient(server: Any, make_server: Callable[[], Any]) -> None:
    gone = make_server()
    gone.close()
    server.routes = {
        "/silent": server.answer(raw=b""),
        "/garbage": server.answer(raw=b"\x00\x01\x02\r\n\r\n"),
        "/short": server.answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
    }
    with EgressClient(EgressPolicy(allow=("127.0.0.0/8",))) as client:
        for url in (gone.url, *(server.url + path for path in server.routes)):
            with pytest.raises(TransientError) as caught:
                client.request("GET", url + "?token=hidden")
            assert "hidden" not in str(caught.value)


def test_a_connection_is_reused_and_its_name_not_resolved_again(server: Any) -> None:
    resolved: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        resolved.append(host)
        return ["127.0.0.1"]

    server.routes["/"] = server.answer(body=b"ok")
    with EgressClient(EgressPolicy(allow=(f"svc.example:{server.port}",)), resolver=resolver) as client:
        for _ in range(3):
            assert client.request("GET", f"http://svc.example:{server.port}/").content == b"ok"
    assert resolved == ["svc.example"]
    assert server.requests[0].headers["host"] == f"svc.example:{server.port}"


def test_many_threads_share_a_client(server: Any, client: EgressClient) -> None:
    server.routes["/"] = lambda request: server.answer(body=request.body)
    wrong: list[bytes] = []

    def call(number: int) -> None:
        for turn in range(5):
            sent = f"{number}-{turn}".encode()
            if client.request("POST", server.url, content=sent).content != sent:
                wrong.append(sent)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(server.requests) == 40


@pytest.mark.parametrize(
    "options",
    [
        {"method": "CONNECT"}, {"method": "GET\r\nX: y"}, {"headers": {"X": "a\r\nHost: evil"}},
        {"headers": {"X\n": "a"}}, {"headers": {"X: y": "a"}}, {"headers": {"X": "ü"}}, {"headers": {"Host": "evil"}},
        {"headers": {"": "a"}}, {"headers": {"Transfer-Encoding": "chunked"}}, {"headers": {"content-length": "0"}},
        {"headers": {"Upgrade": "h2c"}},
        {"json": {"a": float("nan")}}, {"json": object()}, {"json": {"a": "\ud800"}},
        {"content": "\ud800"},
        {"json": 1, "content": b"x"}, {"data": {"a": "\ud800"}}, {"params": {"a": "\ud800"}},
        {"params": {"a": 10**5000}}, {"data": {"a": 10**5000}}, {"headers": {"X": 1}}, {"headers": {1: "X"}},
    ],
)  # fmt: skip
def test_a_malformed_request_is_refused_before_anything_is_sent(options: dict[str, Any], internet: Any) -> None:
    with internet.client() as client, pytest.raises(InvalidInputError):
        client.request(options.pop("method", "POST"), "http://1.1.1.1/", **options)
    assert internet.connected == []


# -- TLS --------------------------------------------------------------------------------------------------------------

_PEM = Path(__file__).with_name("tls_example.pem")
"""A self-signed certificate for tls.example and its key, made for these tests."""


@pytest.fixture
def tls_server() -> Iterator[tuple[int, list[str | None]]]:
    names: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.headers["host"].encode())

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that does not accept the certificate hangs up in the handshake

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_PEM)
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_port, names
    server.shutdown()
    server.server_close()
    thread.join()


def test_tls_is_verified_for_the_original_name(tls_server: tuple[int, list[str | None]]) -> None:
    port, names = tls_server
    trust = ssl.create_default_context(cafile=str(_PEM))
    policy = EgressPolicy(allow=("127.0.0.0/8",))
    with EgressClient(policy, resolver=lambda host, port: ["127.0.0.1"], ssl_context=trust) as client:
        response = client.request("GET", f"https://tls.example:{port}/")
        assert response.text == f"tls.example:{port}"
        assert names == ["tls.example"]
        with pytest.raises(PermanentError, match="certificate is not accepted"):
            client.request("GET", f"https://other.example:{port}/")
    with (
        EgressClient(policy, resolver=lambda host, port: ["127.0.0.1"]) as client,
        pytest.raises(PermanentError, match="certificate is not accepted"),
    ):
        client.request("GET", f"https://tls.example:{port}/")


# -- a vendor's client ------------------------------------------------------------------------------------------------


def test_a_client_built_on_httpx2_can_be_given_the_transport(server: Any, internet: Any) -> None:
    server.routes = {
        "/a": server.answer(302, headers={"Location": "http://10.0.0.1/"}),
        "/b": server.answer(body=b"ok"),
    }
    with httpx2.Client(transport=EgressTransport(), follow_redirects=True) as vendor:
        assert vendor.get(f"{server.url}/b").text == "ok"
        for url in (f"{server.url}/a", "http://10.0.0.1/", "http://example.com\\@127.0.0.1/", "http://u:p@1.1.1.1/"):
            with pytest.raises(SSRFBlocked):
                vendor.get(url)


# -- statuses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, PermanentError), (401, PermanentError), (404, PermanentError), (408, TransientError), (425, TransientError),
     (429, RateLimited), (500, TransientError), (503, TransientError), (599, TransientError)],
)  # fmt: skip
def test_a_status_becomes_an_error_on_request(status: int, kind: type[AutomateError]) -> None:
    response = EgressResponse(status, "https://api.example/v1?key=hidden", {"retry-after": "7"}, b"why")
    with pytest.raises(AutomateError) as caught:
        response.raise_for_status()
    assert type(caught.value) is kind
    assert caught.value.retry_after == (None if kind is PermanentError else 7)
    assert caught.value.context == {"status": status, "body": "why"}
    assert "hidden" not in str(caught.value)
    assert "hidden" not in repr(response)


def test_a_secret_across_the_cut_of_a_quoted_body_is_not_halved() -> None:
    secret = "correct-horse-battery-staple"
    remember(secret)
    try:
        for before in range(460, 501, 4):
            with pytest.raises(PermanentError) as caught:
                EgressResponse(400, "https://api.example/", {}, b"x" * before + secret.encode()).raise_for_status()
            assert "correct" not in str(caught.value.context)
    finally:
        forget(secret)


def test_a_secret_across_the_end_of_what_is_examined_of_a_body_is_not_halved() -> None:
    secret = "S" + "ecret" * 600
    remember(secret)
    try:
        with pytest.raises(PermanentError) as caught:
            EgressResponse(400, "https://api.example/", {}, f"{secret} ".encode() * 40).raise_for_status()
    finally:
        forget(secret)
    assert "[REDACTED]" in caught.value.context["body"]
    assert "ecret" not in caught.value.context["body"]


@pytest.mark.parametrize("name", ["punycode", "idna", "undefined", "unicode_escape", "utf-7", "rot13", "nonsense"])
def test_a_character_set_that_no_text_is_sent_in_is_not_used(name: str) -> None:
    # Of these, punycode takes quadratic time: 10 MB of it would take hours.
    content = b"grep " * 200_000 + "\u00e4-".encode() + b"k" * 1_000_000
    response = EgressResponse(503, "https://api.example/", {"content-type": f"text/plain; charset={name}"}, content)
    assert response.text == content.decode()
    with pytest.raises(TransientError):
        response.raise_for_status()


@pytest.mark.parametrize("name", ["UTF-8", "utf-16", "ISO-8859-15", "windows-1252", "shift_jis", "GB18030", "us-ascii"])
def test_character_sets_of_texts_are_used(name: str) -> None:
    response = EgressResponse(
        200, "https://api.example/", {"content-type": f'text/x; charset="{name}"'}, "a".encode(name)
    )
    assert (response.charset, response.text) == (name, "a")


def test_a_good_status_is_itself() -> None:
    for status in (200, 204, 304):
        response = EgressResponse(status, "https://api.example/", {}, b"")
        assert response.raise_for_status() is response


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'{"a": Infinity}', b"[" * 100_000, b"\xff\xfe\xfa", b"1" * 5000])
def test_what_is_not_json_is_a_typed_error(body: bytes) -> None:
    with pytest.raises(PermanentError):
        EgressResponse(200, "https://api.example/", {}, body).json()


NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("-5", None), ("nan", None), ("1e9", None), ("0", 0), ("30", 30),
        ("1.5", 1.5), (" 30 ", 30), ("9" * 400, 3600), ("86400", 3600), ("²", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90), (format_datetime(NOW - timedelta(days=1)), 0),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), 3600), ("Sat, 21 Nov 2026 12:00:10", 10),
        ("Sat, 21 Nov 99999 12:00:10 GMT", None), ("Sat, 21 Nov 2026 12:00:10 +9999999999", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@given(st.text(max_size=40))
def test_retry_after_is_within_its_bounds_for_any_text(value: str) -> None:
    wait = parse_retry_after(value, now=NOW, cap=60)
    assert wait is None or 0 <= wait <= 60


# -- the shared client ------------------------------------------------------------------------------------------------


def test_the_shared_client_follows_the_settings_and_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first = egress_client()
    assert egress_client() is first
    settings.configure(settings.parse({"POLICY": {"allow_ssrf": True}}))
    second = egress_client()
    settings.configure(None)
    assert second is not first
    assert second.policy == EgressPolicy(allow_private=True)
    third = egress_client()
    assert third.policy == EgressPolicy()
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert egress_client() is not third


def test_a_change_of_the_policy_breaks_no_call_under_way(server: Any) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def slow(request: Any) -> Any:
        arrived.set()
        assert go_on.wait(20)
        return server.answer(body=b"whole")

    server.routes["/"] = slow
    bodies: list[bytes] = []
    settings.configure(settings.parse({"POLICY": {"egress_allow": [f"127.0.0.1:{server.port}"]}}))
    try:
        thread = threading.Thread(target=lambda: bodies.append(egress_client().request("GET", server.url).content))
        thread.start()
        assert arrived.wait(20)
        settings.configure(settings.parse({"POLICY": {"allow_ssrf": True}}))
        egress_client()
        go_on.set()
        thread.join(20)
    finally:
        settings.configure(None)
    assert bodies == [b"whole"]


def test_a_deadline_does_not_outlive_its_call(server: Any, client: EgressClient) -> None:
    server.routes["/"] = server.answer(body=b"ok")
    with pytest.raises(TransientError):
        client.request("GET", server.url, timeout=1e-9)
    time.sleep(0.01)
    assert client.request("GET", server.url).content == b"ok"


# -- the lists of the policy ------------------------------------------------------------------------------------------


def test_what_is_denied_by_name_is_not_even_looked_up(internet: Any) -> None:
    internet.names["evil.example"] = ["93.184.216.34"]
    for policy in (EgressPolicy(deny=("evil.example",)), EgressPolicy(only=("good.example",))):
        with pytest.raises(SSRFBlocked, match=r"evil\.example"):
            internet.client(policy).request("GET", "http://evil.example/")
    assert (internet.resolved, internet.connected) == ([], [])


@pytest.mark.parametrize("origin", ["https://in.example", "http://in.example"])
def test_a_refused_address_is_told_with_the_origin_that_was_to_be_called(origin: str, internet: Any) -> None:
    internet.names["in.example"] = ["10.0.0.1"]
    with internet.client() as client, pytest.raises(SSRFBlocked) as caught:
        client.request("GET", f"{origin}/")
    assert str(caught.value).startswith(f"{origin} (10.0.0.1) must not be called")


@pytest.mark.parametrize("policy", [EgressPolicy(deny=("*.evil.example",)), EgressPolicy(only=("good.example",))])
def test_every_hop_of_a_redirect_is_judged_by_the_lists(policy: EgressPolicy, internet: Any) -> None:
    internet.names.update({"good.example": ["93.184.216.34"], "a.evil.example": ["93.184.216.35"]})
    there = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    internet.answers.update({"/": there % b"/again", "/again": there % b"http://a.evil.example/"})
    with pytest.raises(SSRFBlocked, match=r"a\.evil\.example"):
        internet.client(policy).request("GET", "http://good.example/")
    assert internet.connected == [("93.184.216.34", 80)] * 2


def test_each_tenant_has_the_client_of_its_policy() -> None:
    tenants = {"acme": {"egress_deny": ["evil.example"]}, "*": {"egress_only": ["good.example"]}}
    try:
        settings.configure(settings.parse({"POLICY": {"tenants": tenants}}))
        acme, globex, nobody = egress_client("acme"), egress_client("globex"), egress_client()
        assert len({id(one) for one in (acme, globex, nobody)}) == 3
        assert egress_client("acme") is acme
        assert egress_client("initech") is globex
        with pytest.raises(SSRFBlocked, match=r"POLICY\.tenants\.acme\.egress_deny"):
            acme.request("GET", "http://evil.example/")
        with pytest.raises(SSRFBlocked, match=r"POLICY\.tenants\.\*\.egress_only"):
            globex.request("GET", "http://evil.example/")
    finally:
        settings.configure(None)


def test_the_settings_bound_the_size_of_an_answer(server: Any) -> None:
    server.routes["/"] = server.answer(body=b"x" * 11)
    assert egress_client().request("GET", server.url).content == b"x" * 11
    allow = [f"127.0.0.1:{server.port}"]
    settings.configure(settings.parse({"POLICY": {"egress_allow": allow, "egress_max_bytes": 10}}))
    with pytest.raises(PermanentError, match=r"more than 10 bytes.*POLICY\.egress_max_bytes"):
        egress_client().request("GET", server.url)
    assert egress_client().request("GET", server.url, max_bytes=11).content == b"x" * 11
