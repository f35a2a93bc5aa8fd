"""The egress corpus, played against the client; no packet leaves the machine."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import httpx2
import pytest
from automate_connectors.egress import EgressTransport
from automate_core.egress import EgressPolicy, judge_address, parse_url
from automate_core.errors import AutomateError, SSRFBlocked, TransientError
from egress_addresses import EMBEDDINGS, METADATA, SPELLINGS, Case, bracketed
from egress_corpus import CORPUS, GROUPS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stub_internet import StubInternet, redirect

NAMES = sorted({case.group for case in CORPUS})
NOT_A_LOCATION = ("not absolute", "white space around", "surrogates")
"""Groups of what is relative as a Location, or cannot be sent in one as it is."""
STATUSES = (301, 302, 303, 307, 308)
START = ("1.1.1.1", 80)


@pytest.fixture(autouse=True)
def _no_real_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a real socket was about to be used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def net() -> StubInternet:
    return StubInternet()


class Names(dict[str, Any]):
    """Gives every host the answers of one case."""

    def __init__(self, case: Case) -> None:
        super().__init__({"start.example": ["1.1.1.1"]})
        self._answers = case.answers

    def __contains__(self, host: object) -> bool:
        return self._answers is not None or super().__contains__(host)

    def __missing__(self, host: str) -> Any:
        return self._answers


def outcome(case: Case, url: str, *, by_redirect: int = 0) -> str:
    """Play a case; return what went wrong, ``""`` for nothing."""
    net = StubInternet()
    net.names = Names(case)
    net.answers["/start"] = redirect(url, by_redirect)
    before = [START] if by_redirect else []
    relative = by_redirect and case.reason == "not absolute"  # then it may name a path of the first origin
    try:
        with net.client() as client:
            client.request("GET", "http://start.example/start" if by_redirect else url)
    except AutomateError as error:
        if case.is_public or net.connected != before:
            return f"{case}: {error}; connected to {net.connected}"
        if not by_redirect and case.reason not in str(error):
            return f"{case}: refused for another reason: {error}"
        unresolved = case.reason == "cannot be resolved"
        broken = by_redirect and case.group in ("control characters", "white space around", "backslashes")
        right = isinstance(error, SSRFBlocked) or (isinstance(error, TransientError) and (unresolved or broken))
        return "" if right else f"{case}: {type(error).__name__}: {error}"
    if relative and set(net.connected) == {START}:
        return ""
    if not case.is_public:
        return f"{case}: it was called, at {net.connected}"
    target = parse_url(case.url)
    judged = [target.literal] if target.literal else case.answers or [socket.inet_ntoa(socket.inet_aton(target.host))]
    if not {ip_address(address) for address, _ in net.connected[len(before) :]} <= set(map(ip_address, judged)):
        return f"{case}: {net.connected} is not what was judged"
    if net.headers()["host"] != target.origin.partition("://")[2]:
        return f"{case}: the header Host is {net.headers()['host']}"
    return "" if len(net.asked) <= len(net.connected) == len(before) + 1 else f"{case}: resolved {net.asked}"


def test_the_corpus_is_large_and_each_group_has_its_share() -> None:
    distinct = {(case.url, case.answers) for case in CORPUS}
    assert len(distinct) >= 1000
    assert len({(case.url, case.answers, case.is_public) for case in CORPUS}) == len(distinct)
    assert sum(case.is_public for case in CORPUS) >= 100
    assert min(Counter(case.group for case in CORPUS).values()) >= 3
    assert [case for group in GROUPS for case in group()] == CORPUS  # the same ones each time


@pytest.mark.parametrize("group", NAMES)
def test_a_url_is_called_or_refused_as_the_corpus_says(group: str) -> None:
    assert [wrong for case in CORPUS if case.group == group if (wrong := outcome(case, case.url))] == []


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("group", [name for name in NAMES if name not in NOT_A_LOCATION])
def test_a_redirect_is_judged_like_the_first_url(group: str, status: int) -> None:
    cases = [case for case in CORPUS if case.group == group]
    assert [wrong for case in cases if (wrong := outcome(case, case.url, by_redirect=status))] == []


@pytest.mark.parametrize("status", STATUSES)
def test_a_redirect_without_a_scheme_is_judged_too(status: int) -> None:
    groups = ("numeric", "embedded", "ranges", "metadata", "user information", "percent signs", "brackets", "ports")
    cases = [case for case in CORPUS if case.group in groups and case.url.startswith("http:")][status % 7 :: 7]
    assert len(cases) > 80
    assert [w for case in cases if (w := outcome(case, case.url.removeprefix("http:"), by_redirect=status))] == []


@pytest.mark.parametrize("group", NAMES)
def test_a_vendors_client_over_the_transport_reaches_no_refused_address(group: str) -> None:
    for case in CORPUS:
        if case.group != group or case.is_public:
            continue
        net = StubInternet()
        net.names = Names(case)
        transport = EgressTransport(EgressPolicy(), resolver=net.resolve, connect=net.connect)
        with httpx2.Client(transport=transport, trust_env=False) as vendor, suppress(Exception):
            vendor.get(case.url)  # what it raises is its own matter
        assert all(judge_address(address) is None for address, _ in net.connected), case


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize("allow", [("name.example:8080",), ("0.0.0.0/0", "::/0"), ("fd00::/8", "100.64.0.0/10")])
def test_neither_a_name_nor_a_network_in_the_settings_opens_cloud_metadata(
    address: str, allow: tuple[str, ...], net: StubInternet
) -> None:
    forms = [address, f"{address}%eth0"] if ":" in address else [address]
    if ":" not in address:
        forms += [str(IPv6Address(embed(int(IPv4Address(address))))) for embed in EMBEDDINGS.values()]
    with net.client(EgressPolicy(allow=allow)) as client:
        for form in forms:
            net.names["name.example"] = [form]
            with pytest.raises(SSRFBlocked):
                client.request("GET", "http://name.example:8080/")
    assert net.connected == []
    literal = f"[{address}]:8080" if ":" in address else f"{address}:8080"
    net.names["name.example"] = [address]
    with net.client(EgressPolicy(allow=(literal,))) as client:
        assert client.request("GET", "http://name.example:8080/").status == 200


def test_networks_in_the_settings_open_what_is_not_metadata(net: StubInternet) -> None:
    net.names["name.example"] = ["100.64.0.1", "fd00::1", "64:ff9b:1::a00:1"]
    with net.client(EgressPolicy(allow=("fd00::/8", "100.64.0.0/10", "64:ff9b:1::/48"))) as client:
        assert client.request("GET", "http://name.example:81/").status == 200
    assert net.connected == [("100.64.0.1", 81)]


# -- properties -------------------------------------------------------------------------------------------------------

SPECIAL_V4 = st.one_of(
    *(
        st.ip_addresses(v=4, network=network)
        for network in ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
                        "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
                        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4")
    )
)  # fmt: skip


@st.composite
def hosts(draw: st.DrawFn, addresses: st.SearchStrategy[Any]) -> str:
    """An address in one of its spellings or embeddings, in either case, as a URL writes it."""
    number = int(draw(addresses))
    name = draw(st.sampled_from([*SPELLINGS, *EMBEDDINGS, "compatible", "plain"]))
    if name in SPELLINGS:
        host = SPELLINGS[name](number)
    elif name in EMBEDDINGS:
        host = bracketed(EMBEDDINGS[name](number))
    else:
        host = bracketed(number) if name == "compatible" else str(IPv4Address(number))
    return host.upper() if draw(st.booleans()) else host


@settings(max_examples=500, deadline=None)
@given(host=hosts(SPECIAL_V4), status=st.sampled_from(STATUSES), scheme=st.sampled_from(["http", "https"]))
def test_no_spelling_of_a_special_address_is_reached(host: str, status: int, scheme: str) -> None:
    net = StubInternet()
    net.names = {"start.example": ["1.1.1.1"]}
    net.answers["/start"] = redirect(f"{scheme}://{host}/", status)
    with net.client() as client:
        for url in (f"{scheme}://{host}/", "http://start.example/start"):
            with pytest.raises(SSRFBlocked):
                client.request("GET", url)
    assert net.connected == [START]


@settings(max_examples=300, deadline=None)
@given(
    inside=SPECIAL_V4,
    embed=st.sampled_from([lambda n: n, *EMBEDDINGS.values()]),
    outside=st.lists(st.sampled_from(["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111"]), max_size=4),
    data=st.data(),
)
def test_one_special_answer_among_many_refuses_the_name(inside: Any, embed: Any, outside: list[str], data: Any) -> None:
    number = embed(int(inside))
    text = str(IPv6Address(number)) if number >> 32 else str(inside)
    net = StubInternet()
    net.names = {"mixed.example": data.draw(st.permutations([*outside, text]))}
    with net.client() as client, pytest.raises(SSRFBlocked):
        client.request("GET", "https://mixed.example/")
    assert net.connected == []


@settings(max_examples=300, deadline=None)
@given(host=hosts(st.ip_addresses(v=4)))
def test_whatever_is_reached_is_public(host: str) -> None:
    net = StubInternet()
    with net.client() as client, suppress(AutomateError):
        client.request("GET", f"http://{host}/")
    assert all(judge_address(address) is None for address, _ in net.connected)


PIECES = st.sampled_from(
    ["http:", "https:", "//", "/", "\\", "@", ":", "#", "?", ".", "80", "127.0.0.1", "[::1]", "start.example",
     "evil.example", "1.1.1.1", "%2e", "%00", "\t", "\n", " ", "。", "①", "u:p", "[", "]", "0x7f.1", "::ffff:127.0.0.1",
     "localhost", "x", "xn--", "xn--a", "_", "-"]
)  # fmt: skip


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.lists(PIECES, max_size=9).map("".join), redirected=st.booleans())
def test_no_combination_of_pieces_leads_elsewhere(text: str, redirected: bool) -> None:
    class Everything(dict[str, Any]):
        def __contains__(self, host: object) -> bool:
            return True

        def __missing__(self, host: str) -> list[str]:
            return ["1.1.1.1"] if host.rstrip(".") == "start.example" else ["127.0.0.1"]

    net = StubInternet()
    net.names = Everything()
    net.answers["/start"] = redirect(text)
    with net.client() as client, suppress(AutomateError):  # what counts is where a socket went
        client.request("GET", "http://start.example/start" if redirected else f"http://{text}")
    assert all(ip_address(address).is_global for address, _ in net.connected)


def test_allow_ssrf_opens_everything(net: StubInternet) -> None:
    net.names["intranet.example"] = ["10.0.0.1"]
    with net.client(EgressPolicy(allow_private=True)) as client:
        assert client.request("GET", "http://intranet.example:81/").status == 200
    assert net.connected == [("10.0.0.1", 81)]
