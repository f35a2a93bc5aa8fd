"""The egress policy: what it parses, which addresses it refuses, what the settings may open."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import pytest
from automate_core.egress import EgressPolicy, Target, join_url, judge_address, parse_url
from automate_core.egress.resolving import Resolver, acheck_host, attempts, check_host
from automate_core.egress.targets import OF_THE_SITE
from automate_core.errors import ConfigurationError, SSRFBlocked, TransientError
from automate_core.policy import effective_policy
from automate_core.settings import PolicySettings, parse
from hypothesis import given
from hypothesis import strategies as st

WAYS = pytest.mark.parametrize("way", ["sync", "async"])

REFUSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1",
    "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.0.8", "192.0.0.9", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1",
    "::ffff:100.100.100.200", "::ffff:0:127.0.0.1", "::7f00:1", "::a9fe:a9fe", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "64:ff9b:1:808:8:800::", "100::1", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "2002:a00:1::1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254",
    "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700:4700::1111%1", "localhost",
    "127.1", "0x7f.1", "2130706433", "0177.0.0.1",
]  # fmt: skip

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1",
    "198.17.255.255", "198.20.0.1", "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001:82a::200e",
    "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_special_addresses_have_a_reason(address: str) -> None:
    assert judge_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_have_none(address: str) -> None:
    assert judge_address(address) is None


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_like_the_one_inside(inner: IPv4Address) -> None:
    reason = judge_address(inner)
    number = int(inner)
    forms = [0xFFFF << 32 | number, 0xFFFF << 48 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]
    if number > 1:
        forms.append(number)
    for form in forms:
        assert judge_address(IPv6Address(form)) == reason


@given(st.ip_addresses(v=4), st.ip_addresses(v=6, network="2a00::/12"), st.sampled_from([0x5EFE, 0x0200_5EFE]))
def test_an_isatap_address_is_judged_by_the_one_inside_too(inner: IPv4Address, outer: IPv6Address, mark: int) -> None:
    prefix = int(outer) >> 64 << 64
    assert judge_address(IPv6Address(prefix | mark << 32 | int(inner))) == judge_address(inner)
    link_local = judge_address(IPv6Address(0xFE80 << 112 | mark << 32 | int(inner)))
    assert link_local == ("cloud metadata" if judge_address(inner) == "cloud metadata" else "link-local")


@pytest.mark.parametrize(
    "address",
    ["fd00:ec2::254", "fd00:ec2::254%eth0", "fe80::a9fe:a9fe%2", "::ffff:168.63.129.16", "64:ff9b:1::a9fe:a9fe",
     "64:ff9b:1:0:a9:fea9:fe00:0", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:a9fe:a9:fe00::", "2001:0:a9fe:a9fe::1",
     "2001::5601:5601", "2a00:1450::5efe:a9fe:a9fe"],
)  # fmt: skip
def test_neither_a_zone_nor_a_tunnel_hides_cloud_metadata(address: str) -> None:
    assert judge_address(address) == "cloud metadata"
    for policy in (EgressPolicy(allow=("name.example:80",)), EgressPolicy(allow=("::/0", "0.0.0.0/0"))):
        with pytest.raises(SSRFBlocked, match="cloud metadata"):
            check(policy, "http://name.example/", address)


@pytest.mark.parametrize(
    "address",
    ["fd00:ec2::254%eth0", "64:ff9b:1::a9fe:a9fe", "2001:0:a9fe:a9fe::1", "2a00:1450::5efe:a9fe:a9fe",
     "::ffff:169.254.169.254", "2002:a9fe:a9fe::"],
)  # fmt: skip
def test_neither_a_zone_nor_a_tunnel_hides_what_is_denied(address: str) -> None:
    policy = EgressPolicy(allow_private=True, deny=("169.254.169.254", "fd00:ec2::254"))
    with pytest.raises(SSRFBlocked, match="it is denied"):
        check(policy, "http://name.example/", address)


@given(st.ip_addresses(v=6))
def test_of_ipv6_only_global_unicast_and_embedded_addresses_can_pass(address: IPv6Address) -> None:
    embeds = any(address in IPv6Network(text) for text in ("::/80", "64:ff9b::/96"))
    if address not in IPv6Network("2000::/3") and not embeds:
        assert judge_address(address)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("http://example.com", Target("http", "example.com", 80, "/")),
        ("HTTPS://Example.COM:8443/a?b=c#d", Target("https", "example.com", 8443, "/a?b=c")),
        ("http://example.com?q=@", Target("http", "example.com", 80, "/?q=@")),
        ("https://[2606:4700::1111]/", Target("https", "2606:4700::1111", 443, "/")),
        ("http://xn--bcher-kva.example/ü", Target("http", "xn--bcher-kva.example", 80, "/ü")),
        ("http://0x7f.1/", Target("http", "0x7f.1", 80, "/")),
        ("http://under_score.example./", Target("http", "under_score.example.", 80, "/")),
    ],
)
def test_a_url_is_taken_apart(text: str, target: Target) -> None:
    assert parse_url(text) == target
    assert parse_url(target.url) == target


@pytest.mark.parametrize(
    "text",
    [
        "", "example.com", "/path", "//example.com/", "http:/example.com", "http:example.com", "http://", "http:///x",
        "http://:80/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com:70/", "data:text/plain,x",
        "javascript://example.com/%0aalert(1)", "http://user@example.com/", "http://user:pw@example.com/",
        "http://@127.0.0.1/", "http://example.com@127.0.0.1/", "http://127.0.0.1\\@example.com/",
        "http://example.com\\@127.0.0.1/", "http:\\\\example.com", "http://example.com/a\\b", "http://exa\nmple.com/",
        "http://example.com/\x00", "http://example.com/\r\nX: y", "\thttp://example.com", " http://example.com",
        "http://example.com /", "http://127。0。0。1/", "http://①②⑦.⓪.⓪.①/", "http://exämple.com/",
        "http://127%2e0.0.1/", "http://%31%32%37.0.0.1/", "http://a..b/", "http://.example.com/", "http://-a.com/",
        "http://example.com:/", "http://example.com:0/", "http://example.com:65536/", "http://example.com:99999999/",
        "http://example.com:8o/", "http://example.com:80:80/", "http://example.com:+80/", "http://example.com:٨٠/",
        "http://[::1", "http://::1/", "http://[::1]x/", "http://[127.0.0.1]/", "http://[fe80::1%25eth0]/",
        "http://[::ffff:127.0.0.1.1]/", f"http://{'a' * 64}.com/", f"http://{'a.' * 130}com/", "http://a/" + "x" * 9000,
        "http://example.com/\ud800",
    ],
)  # fmt: skip
def test_what_parsers_disagree_on_is_refused(text: str) -> None:
    with pytest.raises(SSRFBlocked) as caught:
        parse_url(text)
    assert "pw" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(rest: str) -> None:
    try:
        target = parse_url("http://" + rest)
    except SSRFBlocked:
        return
    assert "@" not in target.host
    assert parse_url(target.url) == target


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "https://example.com:8443/b"),
        ("b", "https://example.com:8443/a/b"),
        ("../../../b", "https://example.com:8443/b"),
        ("?q=2", "https://example.com:8443/a/x?q=2"),
        ("", "https://example.com:8443/a/x?q=1"),
        ("//other.example/b", "https://other.example/b"),
        ("http://other.example", "http://other.example/"),
        ("/b//evil.example", "https://example.com:8443/b//evil.example"),
        ("/@evil.example", "https://example.com:8443/@evil.example"),
    ],
)
def test_a_redirect_is_joined(location: str, url: str) -> None:
    assert join_url(parse_url("https://example.com:8443/a/x?q=1"), location).url == url


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "//u@evil.example/", "/\\evil.example", "\\\\evil.example", "\t//evil.example", "http:evil",
     "//", "http://[::1", "javascript:alert(1)"],
)  # fmt: skip
def test_a_malformed_redirect_is_refused(location: str) -> None:
    with pytest.raises(SSRFBlocked):
        join_url(parse_url("https://example.com/"), location)


def check(policy: EgressPolicy, url: str, *addresses: str) -> None:
    policy.check(parse_url(url), addresses)


def test_one_refused_answer_refuses_the_target() -> None:
    policy = EgressPolicy()
    check(policy, "https://example.com/", "93.184.216.34", "2606:4700::1111")
    with pytest.raises(SSRFBlocked, match=r"example\.com \(10\.0\.0\.1\).*private.*POLICY\.egress_allow"):
        check(policy, "https://example.com/", "93.184.216.34", "10.0.0.1")
    with pytest.raises(SSRFBlocked, match="no address"):
        check(policy, "https://example.com/")
    with pytest.raises(SSRFBlocked, match="not an IP address"):
        check(policy, "https://example.com/", "93.184.216.34", "evil")


@pytest.mark.parametrize("port", [1, 22, 25, 110, 1023])
def test_low_ports_are_refused_unless_listed(port: int) -> None:
    with pytest.raises(SSRFBlocked, match="below 1024"):
        check(EgressPolicy(), f"http://example.com:{port}/", "93.184.216.34")
    check(EgressPolicy(allow=(f"example.com:{port}",)), f"http://example.com:{port}/", "93.184.216.34")


def test_what_the_settings_open_and_what_they_do_not() -> None:
    policy = EgressPolicy(allow=("Intranet.example:8080", "127.0.0.1:9000", "[::1]:9000", "10.1.0.0/16", "fd12::/16"))
    check(policy, "http://intranet.example:8080/", "192.168.0.5", "fd00::5")
    check(policy, "http://intranet.example.:8080/", "192.168.0.5")
    check(policy, "http://anything.example:9000/", "127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "fd12::1")
    for url, address in [
        ("http://intranet.example:8081/", "192.168.0.5"),
        ("http://other.example:8080/", "192.168.0.5"),
        ("http://x.intranet.example:8080/", "192.168.0.5"),
        ("http://intranet.example:8080/", "169.254.169.254"),
        ("http://127.0.0.1:9001/", "127.0.0.1"),
        ("http://127.0.0.2:9000/", "127.0.0.2"),
        ("http://a.example/", "10.2.0.1"),
    ]:
        with pytest.raises(SSRFBlocked):
            check(policy, url, address)
    check(EgressPolicy(allow=("169.254.169.254:80",)), "http://metadata.example/", "169.254.169.254")
    check(EgressPolicy(allow_private=True), "http://a.example:22/", "127.0.0.1", "169.254.169.254")


@pytest.mark.parametrize(
    "entry",
    ["", "localhost", "10.0.0.1", "*:80", "host:", "host:0", "host:70000", "host:http", "10.0.0.1/16", "host/24",
     "::1:80", "user@host:80", "http://host:80", "127.1:80", "0x7f.1:80", "2130706433:80", "ho st:80"],
)  # fmt: skip
def test_a_malformed_entry_is_a_configuration_error(entry: str) -> None:
    with pytest.raises(ConfigurationError, match=r"POLICY\.egress_allow"):
        EgressPolicy(allow=(entry,))
    with pytest.raises(ConfigurationError, match=r"POLICY\.egress_allow"):
        parse({"POLICY": {"egress_allow": [entry]}})


PUBLIC_ADDRESS = "93.184.216.34"


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("evil.example", "http://evil.example/", PUBLIC_ADDRESS),
        ("EVIL.example", "https://evil.EXAMPLE.:8443/", PUBLIC_ADDRESS),
        ("evil.example:8443", "https://evil.example:8443/", PUBLIC_ADDRESS),
        ("*.evil.example", "http://a.b.evil.example/", PUBLIC_ADDRESS),
        ("*.evil.example:80", "http://a.evil.example/", PUBLIC_ADDRESS),
        ("*", "http://93.184.216.34/", PUBLIC_ADDRESS),
        ("*:8080", "http://good.example:8080/", PUBLIC_ADDRESS),
        (PUBLIC_ADDRESS, "http://good.example/", PUBLIC_ADDRESS),
        ("93.184.216.34:80", "http://good.example/", "::ffff:93.184.216.34"),
        ("::ffff:93.184.216.34", "http://good.example/", PUBLIC_ADDRESS),
        ("::ffff:93.184.0.0/112", "http://good.example/", PUBLIC_ADDRESS),
        ("::ffff:0:0/96", "http://good.example/", "::ffff:93.184.216.34"),
        ("93.184.0.0/16", "http://good.example/", "64:ff9b::5db8:d822"),
        ("93.184.0.0/16", "http://good.example/", "2002:5db8:d822::1"),
        ("2606:4700::/32", "http://good.example/", "2606:4700::1111"),
        ("[2606:4700::1111]:443", "https://good.example/", "2606:4700::1111"),
    ],
)
def test_what_is_denied_is_refused_whatever_else_is_said(entry: str, url: str, address: str) -> None:
    target = parse_url(url)
    open_to_all = EgressPolicy(
        allow_private=True, allow=(f"{address}:{target.port}" if ":" not in address else f"[{address}]:{target.port}",)
    )
    open_to_all.check(target, [address])
    denying = EgressPolicy(open_to_all.allow_private, open_to_all.allow, deny=(entry,), only=("*",))
    with pytest.raises(SSRFBlocked, match=r"denied.*POLICY\.egress_deny") as caught:
        denying.check(target, ["1.1.1.1", address])
    assert caught.value.context["host"] == target.host
    assert caught.value.context["setting"] == "POLICY.egress_deny"


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("evil.example", "http://a.evil.example/"),
        ("evil.example", "http://notevil.example/"),
        ("evil.example:81", "http://evil.example/"),
        ("*.evil.example", "http://evil.example/"),
        ("*.evil.example", "http://notevil.example/"),
        ("93.185.0.0/16", "http://good.example/"),
    ],
)
def test_nothing_else_is_denied(entry: str, url: str) -> None:
    check(EgressPolicy(deny=(entry,)), url, PUBLIC_ADDRESS)


def test_where_some_hosts_are_listed_no_other_is_called() -> None:
    policy = EgressPolicy(only=("api.example", "*.partner.example:443", "93.184.0.0/16"))
    check(policy, "http://api.example:8080/", "1.1.1.1")
    check(policy, "https://eu.partner.example/", "1.1.1.1")
    check(policy, "http://any.example/", "93.184.1.1", "::ffff:93.184.1.2")
    for url, address in [
        ("http://x.api.example/", "1.1.1.1"),
        ("http://eu.partner.example/", "1.1.1.1"),
        ("https://partner.example/", "1.1.1.1"),
        ("http://any.example/", "93.185.1.1"),
        ("http://any.example/", "64:ff9b::5db8:101"),  # another way to it: only what is listed, as it is listed
    ]:
        with pytest.raises(SSRFBlocked, match=r"not among what may be called.*POLICY\.egress_only"):
            check(policy, url, address)
    with pytest.raises(SSRFBlocked, match="loopback"):
        check(policy, "http://api.example:8080/", "127.0.0.1")


def test_a_name_is_judged_before_it_is_looked_up_where_it_can_be() -> None:
    EgressPolicy().check_name(parse_url("http://a.example/"))
    EgressPolicy(only=("a.example",)).check_name(parse_url("http://a.example/"))
    EgressPolicy(only=("a.example", "10.0.0.0/8")).check_name(parse_url("http://b.example/"))  # its address decides
    for policy in (EgressPolicy(deny=("b.example",)), EgressPolicy(only=("a.example",))):
        with pytest.raises(SSRFBlocked):
            policy.check_name(parse_url("http://b.example/"))
        with pytest.raises(SSRFBlocked):
            EgressPolicy(also=policy).check_name(parse_url("http://b.example/"))


@pytest.mark.parametrize(
    "entry",
    ["", "a.*", "*a.example", "**.example", "*.", "*.127.0.0.1", "*.0x7f", "host:0", "host:http", "10.0.0.1/16",
     "host/24", "http://host", "user@host", "127.1", "2130706433", "ho st", "bücher.example"],
)  # fmt: skip
@pytest.mark.parametrize("setting", ["egress_deny", "egress_only"])
def test_a_malformed_host_is_a_configuration_error(setting: str, entry: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"POLICY\.{setting}"):
        EgressPolicy(deny=(entry,)) if setting == "egress_deny" else EgressPolicy(only=(entry,))
    with pytest.raises(ConfigurationError, match=rf"POLICY\.{setting}"):
        parse({"POLICY": {setting: [entry]}})


def test_the_policy_comes_from_the_settings() -> None:
    settings = PolicySettings(allow_ssrf=True, egress_allow=("localhost:80",))
    assert effective_policy(settings).egress == EgressPolicy(allow_private=True, allow=("localhost:80",))


# -- services that another setting names ------------------------------------------------------------------------------

SERVICES = EgressPolicy(services=("llm.internal:11434", "127.0.0.1:8000", "[fd00::5]:25"))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://llm.internal:11434/", "10.0.0.5"), ("http://llm.internal:11434/", "127.0.0.1"),
        ("http://llm.internal:11434/", "100.64.0.1"), ("https://llm.internal:11434/", "fd00::5"),
        ("http://LLM.internal:11434/v1", "::ffff:192.168.0.1"), ("http://llm.internal:11434/", "93.184.216.34"),
        ("http://127.0.0.1:8000/", "127.0.0.1"), ("http://[fd00::5]:25/", "fd00::5"),
    ],
)  # fmt: skip
def test_a_service_may_have_an_address_of_the_site(url: str, address: str) -> None:
    SERVICES.check(parse_url(url), [address])
    with pytest.raises(SSRFBlocked):
        SERVICES.check(parse_url(url), [address, "169.254.169.254"])


@pytest.mark.parametrize("address", [one for one in REFUSED if judge_address(one) not in OF_THE_SITE])
def test_a_service_has_no_other_special_address(address: str) -> None:
    with pytest.raises(SSRFBlocked):
        SERVICES.check(parse_url("http://llm.internal:11434/"), [address])


@pytest.mark.parametrize(
    "url",
    ["http://llm.internal:11435/", "http://a.llm.internal:11434/", "http://internal:11434/", "http://127.0.0.1:8001/",
     "http://127.0.0.1:11434/", "http://localhost:8000/"],
)  # fmt: skip
def test_a_service_is_one_host_and_one_port(url: str) -> None:
    with pytest.raises(SSRFBlocked, match=r"POLICY\.egress_allow"):
        SERVICES.check(parse_url(url), ["127.0.0.1"])


@pytest.mark.parametrize(
    "lists",
    [{"deny": ("llm.internal",)}, {"deny": ("10.0.0.0/8",)}, {"only": ("*.example",)}, {"only": ("93.184.0.0/16",)},
     {"also": EgressPolicy(where="POLICY.tenants.acme")}],
)  # fmt: skip
def test_a_service_is_under_every_list(lists: dict[str, Any]) -> None:
    with pytest.raises(SSRFBlocked):
        replace(SERVICES, **lists).check(parse_url("http://llm.internal:11434/"), ["10.0.0.5"])


# -- resolving --------------------------------------------------------------------------------------------------------


def looked_up(way: str, resolver: Resolver, host: str = "a.example", seconds: float = 20.0) -> Sequence[str]:
    target, until = Target.at(host, 80), time.monotonic() + seconds
    if way == "sync":
        return check_host(EgressPolicy(deny=("evil.example",)), target, resolver, until)
    return asyncio.run(acheck_host(EgressPolicy(deny=("evil.example",)), target, resolver, until))


def _always(answers: list[str], host: str, port: int) -> list[str]:
    return answers


@WAYS
def test_every_answer_is_judged(way: str) -> None:
    assert looked_up(way, lambda host, port: ["1.1.1.1", "::ffff:8.8.8.8"]) == ["1.1.1.1", "::ffff:8.8.8.8"]
    for answers in (["1.1.1.1", "10.0.0.1"], ["10.0.0.1", "1.1.1.1"], [], ["nonsense"]):
        with pytest.raises(SSRFBlocked):
            looked_up(way, partial(_always, answers))


@WAYS
def test_neither_an_address_nor_a_denied_name_is_looked_up(way: str) -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise AssertionError("it was looked up")

    assert looked_up(way, nobody, "1.1.1.1") == ["1.1.1.1"]
    for host in ("10.0.0.1", "evil.example", "::1"):
        with pytest.raises(SSRFBlocked):
            looked_up(way, nobody, host)


@WAYS
@pytest.mark.parametrize("error", [OSError("none"), UnicodeError("label too long"), TimeoutError("slow")])
def test_what_does_not_resolve_is_transient(way: str, error: Exception) -> None:
    def fail(host: str, port: int) -> list[str]:
        raise error

    with pytest.raises(TransientError, match=r"a\.example") as caught:
        looked_up(way, fail)
    assert caught.value.context == {"host": "a.example"}


@WAYS
def test_nobody_waits_longer_for_a_name_than_the_deadline(way: str) -> None:
    release, answered = threading.Event(), threading.Event()

    def hang(host: str, port: int) -> list[str]:
        release.wait(20)
        answered.set()
        return ["1.1.1.1"]

    with pytest.raises(TransientError, match="not resolved in time"):
        looked_up(way, hang, seconds=0.1)
    assert not answered.is_set()
    release.set()
    assert answered.wait(20), "what comes too late is dropped without a word"


def test_the_time_is_shared_among_the_addresses_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 4.0, 9.0, 12.0])
    monkeypatch.setattr("automate_core.egress.resolving.time.monotonic", lambda: next(now))
    assert list(attempts(["1.1.1.1", "::FFFF:808:808", "1.0.0.1", "9.9.9.9"], 12.0)) == [
        ("1.1.1.1", 3.0), ("::ffff:808:808", 8 / 3), ("1.0.0.1", 1.5),
    ]  # fmt: skip
