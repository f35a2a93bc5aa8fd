"""What servers and resolvers do to a client that calls them: rebinding, loops, theft of credentials, floods, lies."""

from __future__ import annotations

import gzip
import itertools
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from automate_connectors import _network, egress
from automate_core.egress import EgressPolicy, resolving
from automate_core.errors import AutomateError, PermanentError, SSRFBlocked, TransientError
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_internet import OK, StubInternet, answer, redirect

PUBLIC = {"a.example": ["1.1.1.1"], "b.example": ["8.8.8.8"], "sub.a.example": ["9.9.9.9"], "a.example.": ["1.1.1.1"]}


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> StubInternet:
    """An internet whose clock is the client's."""
    made = StubInternet()
    made.names.update(PUBLIC)
    monkeypatch.setattr(_network, "time", made.clock)
    monkeypatch.setattr(egress, "time", made.clock)
    monkeypatch.setattr(resolving, "time", made.clock)
    return made


# -- rebinding --------------------------------------------------------------------------------------------------------


def test_a_name_is_resolved_once_for_a_hop_and_what_was_judged_is_called(net: StubInternet) -> None:
    net.names["rebind.example"] = iter([["1.1.1.1"], ["127.0.0.1"], ["8.8.8.8"]])
    with net.client() as client:
        assert client.request("GET", "https://rebind.example/").content == b"ok"
        assert (net.asked, net.connected) == (["rebind.example"], [("1.1.1.1", 443)])
        with pytest.raises(SSRFBlocked):
            client.request("GET", "https://rebind.example/")
        assert client.request("GET", "https://rebind.example/").content == b"ok"
    assert net.connected == [("1.1.1.1", 443), ("8.8.8.8", 443)]


@pytest.mark.parametrize("location", ["/b", "b", "?b", "http://rebind.example/b", "//rebind.example/b"])
def test_a_redirect_to_the_same_name_is_judged_again(location: str, net: StubInternet) -> None:
    net.names["rebind.example"] = iter([["1.1.1.1"], ["169.254.169.254"]])
    net.answers["/a"] = redirect(location)
    with net.client() as client, pytest.raises(SSRFBlocked):
        client.request("GET", "http://rebind.example/a")
    assert net.connected == [("1.1.1.1", 80)]


def test_an_address_that_refuses_the_connection_is_no_reason_to_ask_again(net: StubInternet) -> None:
    net.names["rebind.example"] = iter([["1.1.1.1", "8.8.8.8"], ["127.0.0.1"]])
    connect = net.connect

    def refuse(address: str, port: int, timeout: float) -> Any:
        connected = connect(address, port, timeout)
        if address != "9.9.9.9":
            raise ConnectionRefusedError(111, "refused")
        return connected

    net.connect = refuse  # type: ignore[method-assign]  # a stub of a stub
    with net.client() as client, pytest.raises(TransientError):
        client.request("GET", "http://rebind.example/")
    assert net.asked == ["rebind.example"]
    assert net.connected == [("1.1.1.1", 80), ("8.8.8.8", 80)]


# -- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", range(4))
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_end_at_the_cap(status: int, cap: int, net: StubInternet) -> None:
    net.answers = {"1.1.1.1/": redirect("http://b.example/", status), "8.8.8.8/": redirect("http://a.example/", status)}
    with net.client(max_redirects=cap) as client, pytest.raises(PermanentError, match=f"more than {cap} times"):
        client.request("GET", "http://a.example/")
    assert net.connected == list(itertools.islice(itertools.cycle([("1.1.1.1", 80), ("8.8.8.8", 80)]), cap + 1))


@pytest.mark.parametrize("status", [201, 300, 304, 305, 306, 399, 401, 503])
def test_other_statuses_lead_nowhere(status: int, net: StubInternet) -> None:
    net.answers["/"] = redirect("http://b.example/", status)
    with net.client() as client:
        assert client.request("GET", "http://a.example/").status == status
    assert net.connected == [("1.1.1.1", 80)]


def test_other_headers_lead_nowhere(net: StubInternet) -> None:
    there = "http://127.0.0.1/"
    net.answers["/"] = answer(
        b"<meta http-equiv=refresh content='0;url=http://127.0.0.1/'>", Location=there, Refresh=f"0; url={there}",
        Content_Location=there, Link=f"<{there}>; rel=canonical", Alt_Svc='h2="127.0.0.1:443"', X_Accel_Redirect=there,
    )  # fmt: skip
    with net.client() as client:
        assert client.request("GET", "http://a.example/").status == 200
    assert net.connected == [("1.1.1.1", 80)]


@pytest.mark.parametrize(
    "locations",
    [b"http://127.0.0.1/\r\nLocation: http://b.example/", b"http://b.example/\r\nLocation: http://127.0.0.1/"],
)
def test_two_locations_do_not_lead_inside(locations: bytes, net: StubInternet) -> None:
    net.answers["/"] = (
        b"HTTP/1.1 302 X\r\nConnection: close\r\nContent-Length: 0\r\nLocation: " + locations + b"\r\n\r\n"
    )
    try:
        with net.client() as client:
            client.request("GET", "http://a.example/")
    except SSRFBlocked:
        assert net.connected == [("1.1.1.1", 80)]
    else:
        assert {address for address, _ in net.connected} == {"1.1.1.1", "8.8.8.8"}


# -- credentials ------------------------------------------------------------------------------------------------------

SECRETS = (
    "Authorization", "Cookie", "X-Api-Key", "Api-Key", "ApiKey", "X-Auth-Token", "X-Vault-Token", "X-CSRF-Token",
    "X-Amz-Security-Token", "Private-Token", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key", "Signature", "Referer",
    "Origin", "X-Our-Own-Header", "Forwarded", "X-Forwarded-For", "If-None-Match", "Range",
)  # fmt: skip
ELSEWHERE = [
    ("https://a.example/", "https://b.example/"), ("https://a.example/", "https://sub.a.example/"),
    ("https://sub.a.example/", "https://a.example/"), ("https://a.example/", "https://a.example:8443/"),
    ("https://a.example/", "http://a.example/"), ("http://a.example/", "https://a.example/"),
    ("https://a.example:8443/", "http://a.example:8443/"), ("https://a.example/", "https://a.example./"),
    ("https://a.example/", "https://1.1.1.1/"), ("https://a.example/", "//b.example/"),
    ("https://a.example/", "https://a.example:80/"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "location"), ELSEWHERE)
def test_credentials_never_leave_their_origin_nor_come_back(url: str, location: str, net: StubInternet) -> None:
    net.answers["/start"] = redirect(location.rstrip("/") + "/middle", 307)
    net.answers["/middle"] = redirect(url + "end", 307)
    with net.client() as client:
        client.request("POST", url + "start", headers=dict.fromkeys(SECRETS, "hidden"))
    assert len(net.requests) == 3
    assert net.requests[0].count(b"hidden") == len(SECRETS)
    assert b"hidden" not in net.requests[1] + net.requests[2]


@pytest.mark.parametrize(("url", "location"), ELSEWHERE)
@pytest.mark.parametrize(("status", "method"), [(307, "POST"), (308, "PATCH"), (301, "PUT"), (302, "DELETE")])
def test_a_body_never_leaves_its_origin(status: int, method: str, url: str, location: str, net: StubInternet) -> None:
    net.answers["/start"] = redirect("/middle", status)
    net.answers["/middle"] = redirect(location, status)
    with net.client() as client, pytest.raises(PermanentError, match="the body would go along") as caught:
        client.request(method, url + "start", data={"client_secret": "hidden"})
    assert [request.count(b"hidden") for request in net.requests] == [1, 1]
    assert "hidden" not in f"{caught.value} {caught.value.context}"


@pytest.mark.parametrize(("status", "method"), [(301, "POST"), (302, "POST"), (303, "PUT")])
def test_a_redirect_that_drops_the_body_is_followed_elsewhere(status: int, method: str, net: StubInternet) -> None:
    net.answers["/start"] = redirect("http://b.example/", status)
    with net.client() as client:
        client.request(method, "https://a.example/start", data={"client_secret": "hidden"})
    assert [request.count(b"hidden") for request in net.requests] == [1, 0]


@pytest.mark.parametrize("location", ["/end", "end", "?end", "https://A.Example/end", "https://a.example:443/end",
                                      "//a.example/end", "https://a.example:00443/end"])  # fmt: skip
def test_credentials_stay_within_their_origin(location: str, net: StubInternet) -> None:
    net.answers["/"] = redirect(location, 307)
    with net.client() as client:
        client.request("GET", "https://a.example/", headers=dict.fromkeys(SECRETS, "kept"))
    assert [request.count(b"kept") for request in net.requests] == [len(SECRETS)] * 2


TOKEN = st.text(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=20
)


@settings(max_examples=200, deadline=None)
@given(name=TOKEN, value=st.text("abcdefgh-=; \t", max_size=20).map(lambda text: f"hidden{text}".strip()))
def test_no_header_of_the_users_own_crosses_origins(name: str, value: str) -> None:
    net = StubInternet()
    net.names.update(PUBLIC)
    net.answers["/start"] = redirect("http://b.example/", 308)
    try:
        with net.client() as client:
            client.request("PUT", "http://a.example/start", headers={name: value})
    except AutomateError:
        assert net.connected == []  # a header of the connection
        return
    harmless = ("accept", "accept-language", "content-language", "content-type", "idempotency-key", "user-agent")
    assert b"hidden" in net.requests[0]
    assert (b"hidden" in net.requests[1]) == (name.lower() in harmless)


def test_a_netrc_file_is_not_read(net: StubInternet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine a.example login hidden password hidden\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with net.client() as client:
        client.request("GET", "http://a.example/")
    assert "authorization" not in net.headers()


# -- host, server name, proxies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "server_name"),
    [
        ("https://a.example/", "a.example", "a.example"), ("https://A.EXAMPLE:8443/", "a.example:8443", "a.example"),
        ("https://a.example:443/", "a.example", "a.example"), ("https://1.1.1.1/", "1.1.1.1", "1.1.1.1"),
        ("https://[2606:4700:4700::1111]:444/", "[2606:4700:4700::1111]:444", "2606:4700:4700::1111"),
        ("http://a.example:81/", "a.example:81", None),
    ],
)  # fmt: skip
def test_the_original_name_goes_along_to_the_judged_address(
    url: str, host: str, server_name: str | None, net: StubInternet
) -> None:
    ports = EgressPolicy(allow=("a.example:81", "[2606:4700:4700::1111]:444"))
    net.answers["/start"] = redirect(url)
    with net.client(ports) as client:
        client.request("GET", url)
        client.request("GET", "https://b.example/start")
    assert [net.headers(number)["host"] for number in (0, 2)] == [host, host]
    assert net.server_names == [name for name in (server_name, "b.example", server_name) if name]
    assert {address for address, _ in net.connected} <= {"1.1.1.1", "8.8.8.8", "2606:4700:4700::1111"}


@pytest.mark.parametrize("bypass", [None, "*", "b.example"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_variables_are_ignored(
    scheme: str, bypass: str | None, net: StubInternet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "SOCKS_PROXY"):
        for spelling in (name, name.lower()):
            monkeypatch.setenv(spelling, "http://user:hidden@127.0.0.1:3128")
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    if bypass:
        monkeypatch.setenv("NO_PROXY", bypass)
        monkeypatch.setenv("no_proxy", bypass)
    with net.client() as client:
        client.request("GET", f"{scheme}://a.example/path")
        with pytest.raises(SSRFBlocked):
            client.request("GET", f"{scheme}://127.0.0.1/")
    assert net.connected == [("1.1.1.1", 443 if scheme == "https" else 80)]
    assert net.requests[0].startswith(b"GET /path HTTP/1.1\r\n")
    assert b"hidden" not in net.requests[0]


# -- size -------------------------------------------------------------------------------------------------------------

CAP = 65_536
ZEROS = b"0" * 30_000_000
_raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
RAW = _raw.compress(ZEROS) + _raw.flush()


def pieces(*parts: bytes | Iterator[bytes]) -> Callable[[], Iterator[bytes]]:
    """Give parts one after the other, each call anew; bytes in pieces as a network does."""

    def give() -> Iterator[bytes]:
        for part in parts:
            if isinstance(part, bytes):
                yield from (part[start : start + 16_384] for start in range(0, len(part), 16_384))
            else:
                yield from part

    return give


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", ZEROS), ("gzip", gzip.compress(ZEROS)), ("GZIP", gzip.compress(ZEROS)), ("deflate", RAW),
        ("deflate", zlib.compress(ZEROS)), ("gzip, gzip", gzip.compress(gzip.compress(ZEROS))),
        ("gzip,deflate", zlib.compress(gzip.compress(ZEROS))), ("identity, gzip", gzip.compress(ZEROS)),
        ("deflate\r\nContent-Encoding: gzip", gzip.compress(zlib.compress(ZEROS))), ("br", b"x"), ("zstd", b"x"),
        ("compress", b"x"), ("x-gzip", gzip.compress(b"x")), ("gzip;q=1", gzip.compress(b"x")), ("*", b"x"),
        ("gzip", gzip.compress(b"x")[:-9]  + b"\xff" * 9), ("gzip", b"not gzip"), ("deflate", b"\xff\xff\xff\xff"),
        ("gzip", gzip.compress(b"x") + b"padding " * 1_000_000), ("deflate", zlib.compress(b"x") + ZEROS),
        ("gzip", gzip.compress(b"x") * 100_000),
    ],
)  # fmt: skip
def test_an_answer_is_bounded_whatever_it_unpacks_to(encoding: str, body: bytes, net: StubInternet) -> None:
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: {encoding}\r\n\r\n".encode()
    net.answers["/"] = pieces(head, body)
    with net.client(max_bytes=CAP) as client:
        tracemalloc.start()
        try:
            with pytest.raises(PermanentError):
                client.request("GET", "http://a.example/")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8_000_000  # one unpacked piece and its copies, never the whole


def unpacked(body: bytes) -> bytes:
    """Leave a body as it is."""
    return body


@pytest.mark.parametrize(
    ("encoding", "pack"), [("identity", unpacked), ("gzip", gzip.compress), ("deflate", zlib.compress)]
)
@pytest.mark.parametrize("size", [0, 1, CAP, CAP + 1])
def test_the_cap_is_exact_and_what_cannot_be_compressed_fits_as_well(
    size: int, encoding: str, pack: Callable[[bytes], bytes], net: StubInternet
) -> None:
    body = random.Random(size).randbytes(size)
    net.answers["/"] = pieces(answer(pack(body), Content_Encoding=encoding))
    with net.client(max_bytes=CAP) as client:
        if size <= CAP:
            assert client.request("GET", "http://a.example/").content == body
        else:
            with pytest.raises(PermanentError, match=f"more than {CAP} bytes"):
                client.request("GET", "http://a.example/")


@pytest.mark.parametrize(
    ("head", "body", "error"),
    [
        ("Content-Length: 100", b"short", TransientError),
        ("Content-Length: 2\r\nContent-Length: 3", b"abc", TransientError),
        ("Content-Length: -1", b"abc", TransientError), ("Content-Length: 0x10", b"abc", TransientError),
        ("Content-Length: 2, 2", b"ab", None), ("Content-Length: 2", b"ab" + ZEROS, None),
        ("Content-Length: 99999999999", ZEROS, PermanentError), ("Content-Length: 99999999999", b"x", TransientError),
        ("Transfer-Encoding: chunked", b"fffffffff\r\nabc", TransientError),
        ("Transfer-Encoding: chunked", b"zz\r\nabc\r\n0\r\n\r\n", TransientError),
        ("Transfer-Encoding: chunked", b"-2\r\nab\r\n0\r\n\r\n", TransientError),
        ("Transfer-Encoding: chunked", b"1;" + b"x" * 1_000_000, TransientError),
        ("Transfer-Encoding: chunked", b"2\r\nab\r\n0\r\nX: " + b"x" * 1_000_000, TransientError),
        ("Transfer-Encoding: chunked", b"10000\r\n" + b"a" * 65_536 + b"\r\n1\r\na\r\n0\r\n\r\n", PermanentError),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", b"2\r\nab\r\n0\r\n\r\n", None),
        ("Transfer-Encoding: gzip", gzip.compress(b"ab"), TransientError),
        ("Transfer-Encoding: chunked, chunked", b"2\r\nab\r\n0\r\n\r\n", TransientError),
    ],
)  # fmt: skip
def test_lies_about_the_length_are_errors_and_never_more_than_the_cap(
    head: str, body: bytes, error: type[AutomateError] | None, net: StubInternet
) -> None:
    net.answers["/"] = pieces(f"HTTP/1.1 200 OK\r\nConnection: close\r\n{head}\r\n\r\n".encode(), body)
    with net.client(max_bytes=CAP) as client:
        if error is None:
            assert client.request("GET", "http://a.example/").content == b"ab"
        else:
            with pytest.raises(error):
                client.request("GET", "http://a.example/")


@pytest.mark.parametrize(
    "flood",
    [b"X: y\r\n", b"X-" + b"a" * 100, b"Set-Cookie: " + b"a" * 8000 + b"\r\n", b"\x00", b"Location: /a\r\n"],
    ids=["headers", "one name", "cookies", "zeros", "locations"],
)
def test_a_flood_of_headers_ends(flood: bytes, net: StubInternet) -> None:
    sent = itertools.count()
    net.answers["/"] = pieces(b"HTTP/1.1 200 OK\r\n", (flood for _ in zip(sent, range(1_000_000), strict=False)))
    with net.client() as client, pytest.raises(TransientError):
        client.request("GET", "http://a.example/")
    assert next(sent) < 200_000


# -- time -------------------------------------------------------------------------------------------------------------

ENDLESS = {
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "header": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "informational": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", b"z"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nz\r\n"),
    "chunk size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "gzip that unpacks to nothing": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff",
    ),
}  # fmt: skip


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_that_drips_ends_at_the_deadline(kind: str, scheme: str, net: StubInternet) -> None:
    start, piece = ENDLESS[kind]
    net.pause = 2.0
    net.answers["/"] = pieces(*([start] if start else []), itertools.repeat(piece))
    with net.client() as client, pytest.raises(TransientError):
        client.request("GET", f"{scheme}://a.example/", timeout=30)
    assert net.clock.now <= 1000 + 30 + net.pause


def test_the_deadline_is_for_all_hops_together(net: StubInternet) -> None:
    net.pause = 4.0
    net.answers["/"] = redirect("/")
    with net.client(max_redirects=100) as client, pytest.raises(TransientError):
        client.request("GET", "http://a.example/", timeout=30)
    assert len(net.connected) == 8
    assert net.clock.now <= 1000 + 30 + net.pause


def test_the_time_of_the_resolver_and_of_connecting_counts(net: StubInternet) -> None:
    resolve, connect = net.resolve, net.connect

    def late_resolve(host: str, port: int) -> list[str]:
        net.clock.now += 6
        return resolve(host, port)

    def late_connect(address: str, port: int, timeout: float) -> Any:
        net.clock.now += 6
        return connect(address, port, timeout)

    net.resolve, net.connect = late_resolve, late_connect  # type: ignore[method-assign]  # stubs of a stub
    net.answers["/"] = redirect("/")
    with net.client() as client, pytest.raises(TransientError):
        client.request("GET", "http://a.example/", timeout=20)
    assert len(net.connected) == 2
    assert net.clock.now <= 1000 + 20 + 6


def test_an_answer_in_time_is_an_answer(net: StubInternet) -> None:
    net.pause = 4.0
    net.answers["/"] = pieces(OK[:20], OK[20:50], OK[50:])
    with net.client() as client:
        assert client.request("GET", "http://a.example/", timeout=30).content == b"ok"
    assert net.clock.now == 1012.0
