"""Everything that should reach a private or special address and must not; no packet leaves the machine."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from automate_connectors.egress import EgressClient
from automate_core.egress import EgressPolicy
from automate_core.errors import AutomateError, SSRFBlocked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

V4 = [
    "0.0.0.0", "0.0.0.1", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.254", "127.0.0.1",
    "127.0.1.1", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.0.8", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1",
    "198.19.255.254", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
]  # fmt: skip
V6 = [
    "::", "::1", "::ffff:100.100.100.200", "::ffff:127.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2001:0:7f00:1::1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2001:db8::1", "2001:2::1", "3fff::1", "5f00::1", "100::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1",
    "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip


def embedded(text: str) -> list[str]:
    number = int(IPv4Address(text))
    forms = [0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]
    return [str(IPv6Address(form)) for form in forms]


ADDRESSES = [*V4, *V6, *(form for text in V4 for form in embedded(text))]


def url_of(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


@pytest.fixture(autouse=True)
def _no_real_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a real socket was about to be used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_corpus_is_large() -> None:
    assert len(set(ADDRESSES)) >= 100


@pytest.mark.parametrize("address", ADDRESSES)
def test_neither_a_literal_nor_a_name_nor_a_redirect_reaches_it(address: str, internet: Any) -> None:
    internet.names = {"evil.example": [address], "mixed.example": ["93.184.216.34", address], "ok.example": ["1.1.1.1"]}
    location = f"HTTP/1.1 302 Found\r\nLocation: {url_of(address)}\r\nContent-Length: 0\r\n\r\n"
    internet.answers["/jump"] = location.encode()
    with internet.client() as client:
        for url in (url_of(address), "http://evil.example/", "https://evil.example/", "http://mixed.example/"):
            with pytest.raises(SSRFBlocked):
                client.request("GET", url)
        assert internet.connected == []
        with pytest.raises(SSRFBlocked):
            client.request("GET", "http://ok.example/jump")
    assert internet.connected == [("1.1.1.1", 80)]


LOOPBACK_TEXTS = [
    "0", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "017700000001", "2130706433", "0177.0.0.1", "0x7f.0x0.0x0.0x1",
    "127.000.000.001", "localhost", "localhost.", "LOCALHOST", "localtest.me", "127.0.0.1.nip.io", "spoofed.example",
    "metadata.google.internal", "a.metadata.google.internal",
]  # fmt: skip


@pytest.mark.parametrize("text", LOOPBACK_TEXTS)
def test_what_a_name_resolves_to_is_judged_and_not_its_text(text: str, internet: Any) -> None:
    internet.names = {text.lower(): ["127.0.0.1"], text.lower().rstrip("."): ["127.0.0.1"]}
    with internet.client() as client, pytest.raises(SSRFBlocked):
        client.request("GET", f"http://{text}/")
    assert internet.connected == []


TRICKS = [
    "http://127.0.0.1\\@example.com/", "http://example.com\\@127.0.0.1/", "http://example.com@127.0.0.1/",
    "http://example.com:80@127.0.0.1/", "http://127.0.0.1@example.com/",
    "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "http://127%2e0%2e0%2e1/", "http://[::1%25lo]/",
    "http://[::ffff:7f00:1", "http://127.0.0.1:80\\.example.com/", "http:\\\\127.0.0.1/", "http:///127.0.0.1/",
    "http:127.0.0.1", "http://127.0.0.1\n.example.com/", "\x00http://example.com/", "http://exa\tmple.com/",
    "file:///etc/passwd", "ftp://example.com/", "gopher://127.0.0.1:6379/_FLUSHALL", "dict://127.0.0.1:11211/stat",
    "jar:http://example.com!/", "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/", "ws://example.com/",
    "//example.com/", "example.com", "", "http://", "http://.", "http://example.com:22/", "http://example.com:25/",
    "http://example.com:0/", "http://example.com:65616/", "http://999.1.1.1/", "http://1.1.1.256/",
]  # fmt: skip


@pytest.mark.parametrize("url", TRICKS)
def test_a_tricky_url_opens_no_socket(url: str, internet: Any) -> None:
    internet.names = {"example.com": ["93.184.216.34"], "999.1.1.1": ["93.184.216.34"], "1.1.1.256": ["93.184.216.34"]}
    with internet.client() as client, pytest.raises(SSRFBlocked):
        client.request("GET", url)
    assert internet.connected == []


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1/", "//127.0.0.1/", "//u@127.0.0.1/", "http://[::1]/", "https://10.0.0.1/", "file:///etc/passwd",
     "http://example.com\\@127.0.0.1/", "/\\127.0.0.1/", "\\\\127.0.0.1\\", "http://evil.example/", "gopher://1.1.1.1/",
     "http://1.1.1.1:25/", "http://0x7f.1/"],
)  # fmt: skip
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_judged_like_the_first_url(status: int, location: str, internet: Any) -> None:
    internet.names = {"ok.example": ["1.1.1.1"], "evil.example": ["10.0.0.1"], "0x7f.1": ["127.0.0.1"]}
    internet.answers["/jump"] = f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    with internet.client() as client, pytest.raises(SSRFBlocked):
        client.request("POST", "http://ok.example/jump", json={"a": 1})
    assert internet.connected == [("1.1.1.1", 80)]


def test_a_rebinding_name_is_resolved_once_per_connection_and_judged_each_time(internet: Any) -> None:
    internet.names = {"rebind.example": [["1.1.1.1"], ["127.0.0.1"]]}
    with internet.client() as client:
        assert client.request("GET", "http://rebind.example/").content == b"ok"
        assert internet.resolved == ["rebind.example"]
        assert internet.connected == [("1.1.1.1", 80)]
        with pytest.raises(SSRFBlocked):
            client.request("GET", "http://rebind.example/")
    assert internet.connected == [("1.1.1.1", 80)]


def test_a_redirect_to_itself_cannot_rebind(internet: Any) -> None:
    internet.names = {"rebind.example": [["1.1.1.1"], ["169.254.169.254"]]}
    internet.answers["/a"] = b"HTTP/1.1 302 X\r\nLocation: /b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with internet.client() as client, pytest.raises(SSRFBlocked):
        client.request("GET", "http://rebind.example/a")
    assert internet.connected == [("1.1.1.1", 80)]


@pytest.mark.parametrize("answer", [[], ["not an address"], ["1.1.1.1", ""], ["1.1.1.1", "fe80::1%eth0"]])
def test_an_odd_answer_of_the_resolver_fails_closed(answer: list[str], internet: Any) -> None:
    internet.names = {"odd.example": answer}
    with internet.client() as client, pytest.raises(SSRFBlocked):
        client.request("GET", "http://odd.example/")
    assert internet.connected == []


PUBLIC = [
    ("http://example.com/", ["93.184.216.34"]),
    ("http://example.com:8080/", ["93.184.216.34", "2606:2800:220:1::1"]),
    ("http://1.1.1.1/", []),
    ("http://[2606:4700:4700::1111]/", []),
    ("http://[64:ff9b::808:808]/", []),
    ("http://dns64.example/", ["64:ff9b::808:808"]),
    ("http://mapped.example/", ["::ffff:8.8.8.8"]),
    ("http://134744072/", ["8.8.8.8"]),
    ("http://xn--bcher-kva.example/", ["2a00:1450:4001:82a::200e"]),
]


@pytest.mark.parametrize(("url", "addresses"), PUBLIC)
def test_public_controls_pass_with_the_original_host(url: str, addresses: list[str], internet: Any) -> None:
    host = url.split("/")[2].split(":")[0]
    internet.names = {host: addresses}
    with internet.client() as client:
        response = client.request("GET", url + "?q=http://127.0.0.1/")
    assert (response.status, response.content) == (200, b"ok")
    assert len(internet.connected) == 1
    assert f"Host: {url.split('/')[2]}\r\n".encode() in internet.received[0]
    if addresses:
        assert IPv6Address(addresses[0]) == IPv6Address(internet.connected[0][0]) if ":" in addresses[0] else True
        assert internet.resolved == [host]
    else:
        assert internet.resolved == []


def test_allow_ssrf_opens_everything(internet: Any) -> None:
    internet.names = {"intranet.example": ["10.0.0.1"]}
    with internet.client(EgressPolicy(allow_private=True)) as client:
        assert client.request("GET", "http://intranet.example:81/").status == 200
    assert internet.connected == [("10.0.0.1", 81)]


PIECES = st.sampled_from(
    ["http:", "https:", "//", "/", "\\", "@", ":", "#", "?", ".", "80", "127.0.0.1", "[::1]", "ok.example",
     "evil.example", "1.1.1.1", "%2e", "%00", "\t", "\n", " ", "。", "①", "u:p", "[", "]", "0x7f.1", "::ffff:127.0.0.1",
     "localhost", "x"]
)  # fmt: skip


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.lists(PIECES, max_size=9).map("".join), redirected=st.booleans())
def test_no_combination_of_pieces_leads_elsewhere(text: str, redirected: bool, internet: Any) -> None:
    def resolver(host: str, port: int) -> list[str]:
        return ["1.1.1.1"] if host.rstrip(".") == "ok.example" else ["127.0.0.1"]

    before = len(internet.connected)
    location = f"HTTP/1.1 302 X\r\nLocation: {text}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    internet.answers["/jump"] = location.encode()
    url = "http://ok.example/jump" if redirected else f"http://{text}"
    client = EgressClient(EgressPolicy(), resolver=resolver, connect=internet.connect, timeout=5)
    with client, suppress(AutomateError):  # what counts is where a socket went
        client.request("GET", url)
    assert all(ip_address(address).is_global for address, _ in internet.connected[before:])
