"""The part of the egress corpus that is about addresses: spellings, embeddings, ranges, answers of resolvers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

SEED = 20_261_130
OUTSIDE = "93.184.216.34"


@dataclass(frozen=True)
class Case:
    """One URL.

    Args:
        group: What kind of trap it is.
        url: The URL.
        reason: Part of the reason for which the policy refuses it; ``""`` where it must be called.
        trap: What a careless reader would take it for.
        answers: What its host resolves to. None where nothing but a number is resolved, as C libraries read numbers.
    """

    group: str
    url: str
    reason: str
    trap: str
    answers: tuple[str, ...] | None = None

    @property
    def is_public(self) -> bool:
        """Whether it must be called."""
        return not self.reason


# -- spellings of an address ------------------------------------------------------------------------------------------

SPELLINGS: dict[str, Callable[[int], str]] = {
    "decimal": str,
    "hexadecimal": lambda n: f"0x{n:08x}",
    "hexadecimal, upper case": lambda n: f"0X{n:08X}",
    "hexadecimal with zeros": lambda n: f"0x{n:016x}",
    "octal": lambda n: f"0{n:o}",
    "octal with zeros": lambda n: f"0000{n:o}",
    "two parts": lambda n: f"{n >> 24}.{n & 0xFFFFFF}",
    "two parts, hexadecimal": lambda n: f"{n >> 24:#x}.{n & 0xFFFFFF:#x}",
    "three parts": lambda n: f"{n >> 24}.{n >> 16 & 255}.{n & 0xFFFF}",
    "three parts, octal and decimal": lambda n: f"0{n >> 24:o}.{n >> 16 & 255}.{n & 0xFFFF}",
    "parts in octal": lambda n: ".".join(f"0{part:o}" for part in n.to_bytes(4, "big")),
    "parts in hexadecimal": lambda n: ".".join(f"{part:#x}" for part in n.to_bytes(4, "big")),
    "parts with zeros": lambda n: ".".join(f"{part:04o}" for part in n.to_bytes(4, "big")),
    "mixed parts": lambda n: f"{n >> 24:#x}.0{n >> 16 & 255:o}.{n >> 8 & 255}.{n & 255:#x}",
}
"""Texts that ``inet_aton`` and so ``getaddrinfo`` read as an IPv4 address, from its number."""

EMBEDDINGS: dict[str, Callable[[int], int]] = {
    "IPv4-mapped": lambda n: 0xFFFF << 32 | n,
    "IPv4-translated": lambda n: 0xFFFF << 48 | n,
    "NAT64": lambda n: 0x64FF9B << 96 | n,
    "6to4": lambda n: 0x2002 << 112 | n << 80,
    "6to4 with a host": lambda n: 0x2002 << 112 | n << 80 | 0x1_0000_0000_0000_0001,
    "local NAT64, /96": lambda n: 0x64FF9B_0001 << 80 | n,
    "local NAT64, /64": lambda n: 0x64FF9B_0001 << 80 | n << 24,
    "local NAT64, /48": lambda n: 0x64FF9B_0001 << 80 | n >> 16 << 64 | (n & 0xFFFF) << 40,
    "Teredo client": lambda n: 0x2001_0000_4136_E378 << 64 | 0x8000_63BF << 32 | n ^ 0xFFFFFFFF,
    "Teredo server": lambda n: 0x2001_0000 << 96 | n << 64 | 0x8000_63BF_F7F7_F7F7,
    "ISATAP": lambda n: 0x2A00_1450_4001_082A << 64 | 0x5EFE << 32 | n,
    "ISATAP, unique": lambda n: 0x2A00_1450_4001_082A << 64 | 0x0200_5EFE << 32 | n,
    "ISATAP, link-local": lambda n: 0xFE80 << 112 | 0x5EFE << 32 | n,
    "ISATAP in 6to4": lambda n: 0x2002_0808_0808_0000 << 64 | 0x5EFE << 32 | n,
}
"""IPv6 addresses that lead to an IPv4 address. The IPv4-compatible form is apart: ``::`` and ``::1`` mean others."""

SPECIAL = {
    "127.0.0.1": "loopback", "10.0.0.1": "private", "172.16.0.1": "private", "192.168.0.1": "private",
    "169.254.0.1": "link-local", "169.254.169.254": "cloud metadata", "100.64.0.1": "carrier-grade NAT",
    "100.100.100.200": "cloud metadata", "168.63.129.16": "cloud metadata", "0.0.0.2": "this network",
    "224.0.0.1": "multicast", "255.255.255.255": "reserved", "198.18.0.1": "benchmarking",
}  # fmt: skip
_WHOLE = {"Teredo": "reserved for protocols", "local NAT64": "local NAT64"}
"""Tunnels that are refused for what they are; ISATAP of link-local addresses too."""


def bracketed(number: int) -> str:
    """Return an IPv6 address as a URL writes it."""
    return f"[{IPv6Address(number)}]"


def _reason_of(embedding: str, inner: str) -> str:
    reason = SPECIAL[inner]
    if reason == "cloud metadata":
        return reason
    whole = next((why for kind, why in _WHOLE.items() if embedding.startswith(kind)), "")
    return whole or ("link-local" if embedding == "ISATAP, link-local" else reason)


def numeric() -> Iterable[Case]:
    """Numbers that are addresses."""
    for text, reason in SPECIAL.items():
        for name, spell in SPELLINGS.items():
            strict = name in ("parts in octal", "parts with zeros")  # four numbers are an address, and it has no zeros
            url = f"http://{spell(int(IPv4Address(text)))}/"
            yield Case("numeric", url, "Invalid IPv4 address" if strict else reason, f"{name} for {text}")
    for host in ("0", "00", "0x0", "0.0", "0x0.0"):
        yield Case("numeric", f"http://{host}/", "this network", "a short number")
    for host in ("127.1", "127.0.1", "0x7f.1", "0177.1", "127.0.0.0x1", "0x7f.0.0.01", "0x7f.0x1", "127.0x1"):
        yield Case("numeric", f"http://{host}/", "loopback", "a short number")
    for host in ("1.1", "0x8.8.8.8", "134744072", "0x08080808", "8.8.2056", "8.526344"):
        yield Case("numeric", f"http://{host}/", "", "a short number of a public address")
    for host in ("256.1.1.1", "1.1.1.256", "999.999.999.999", "127.0.0.01", "00127.0.0.1"):
        yield Case("numeric", f"http://{host}/", "Invalid IPv4 address", "four numbers that are no address")
    for host in ("4294967297", "0x17f000001", "127.0.0.0.1", "127.0.65536", "1.2.3.4.5", "0x7f.0.0.256"):
        yield Case("numeric", f"http://{host}/", "cannot be resolved", "wraps around to loopback for some")


def embedded() -> Iterable[Case]:
    """IPv6 addresses with an IPv4 address inside."""
    for text in SPECIAL:
        number = int(IPv4Address(text))
        for name, embed in EMBEDDINGS.items():
            yield Case("embedded", f"http://{bracketed(embed(number))}/", _reason_of(name, text), f"{name} {text}")
        yield Case("embedded", f"http://{bracketed(number)}/", SPECIAL[text], f"IPv4-compatible {text}")
        yield Case("embedded", f"http://[::ffff:{text}]/", SPECIAL[text], f"IPv4-mapped {text}, dotted")
        yield Case("embedded", f"http://[64:ff9b::{text}]/", SPECIAL[text], f"NAT64 {text}, dotted")
    for name in ("IPv4-mapped", "IPv4-translated", "NAT64", "6to4", "ISATAP", "ISATAP in 6to4"):
        for text in ("8.8.8.8", "1.1.1.1"):
            url = f"http://{bracketed(EMBEDDINGS[name](int(IPv4Address(text))))}/"
            yield Case("embedded", url, "", f"{name} of a public address")


# -- ranges -----------------------------------------------------------------------------------------------------------

_V4_EDGES = [  # first and last, and the public neighbours outside
    ("0.0.0.0", "0.255.255.255", "this network", ("1.0.0.0",)),
    ("10.0.0.0", "10.255.255.255", "private", ("9.255.255.255", "11.0.0.0")),
    ("100.64.0.0", "100.127.255.255", "carrier-grade NAT", ("100.63.255.255", "100.128.0.0")),
    ("127.0.0.0", "127.255.255.255", "loopback", ("126.255.255.255", "128.0.0.0")),
    ("169.254.0.0", "169.254.255.255", "link-local", ("169.253.255.255", "169.255.0.0")),
    ("172.16.0.0", "172.31.255.255", "private", ("172.15.255.255", "172.32.0.0")),
    ("192.0.0.0", "192.0.0.255", "reserved for protocols", ("191.255.255.255", "192.0.1.0")),
    ("192.0.2.0", "192.0.2.255", "documentation", ("192.0.1.255", "192.0.3.0")),
    ("192.88.99.0", "192.88.99.255", "6to4 relay", ("192.88.98.255", "192.88.100.0")),
    ("192.168.0.0", "192.168.255.255", "private", ("192.167.255.255", "192.169.0.0")),
    ("198.18.0.0", "198.19.255.255", "benchmarking", ("198.17.255.255", "198.20.0.0")),
    ("198.51.100.0", "198.51.100.255", "documentation", ("198.51.99.255", "198.51.101.0")),
    ("203.0.113.0", "203.0.113.255", "documentation", ("203.0.112.255", "203.0.114.0")),
    ("224.0.0.0", "239.255.255.255", "multicast", ("223.255.255.255",)),
    ("240.0.0.0", "255.255.255.255", "reserved", ()),
]
_V6 = [
    ("::", "unspecified"), ("::1", "loopback"), ("0:0:0:0:0:0:0:1", "loopback"), ("0000::0001", "loopback"),
    ("64:ff9b:1::", "local NAT64"), ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", ""), ("100::", "discard-only"),
    ("100::ffff:ffff:ffff:ffff", "discard-only"), ("100:0:0:1::1", "not global unicast"),
    ("2001::", "reserved for protocols"), ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved for protocols"),
    ("2001:2::1", "reserved for protocols"), ("2001:10::1", "reserved for protocols"), ("2001:20::1", "reserved"),
    ("2001:db8::", "documentation"), ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
    ("3fff::", "documentation"), ("3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
    ("4000::1", "not global unicast"), ("5f00::1", "segment routing"), ("8000::1", "not global unicast"),
    ("fc00::1", "private"), ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"), ("fe00::1", "not global"),
    ("fe80::1", "link-local"), ("febf::1", "link-local"), ("fec0::1", "site-local"), ("feff::1", "site-local"),
    ("ff02::1", "multicast"), ("ff0e::1", "multicast"), ("FF02::FB", "multicast"), ("FE80::1", "link-local"),
]  # fmt: skip
_V6_PUBLIC = [
    "2001:200::1", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "2003::1", "2606:4700:4700::1111",
    "2001:4860:4860::8888", "2A00:1450:4001:82A::200E", "2620:fe::fe", "2400:cb00::1", "2c0f:fb50::1", "3ffe::1",
]  # fmt: skip
_METADATA = [
    ("Amazon, Azure, Google, Oracle, …", "169.254.169.254"), ("Google Kubernetes", "169.254.169.252"),
    ("Amazon ECS", "169.254.170.2"), ("Amazon EKS", "169.254.170.23"), ("Amazon, IPv6", "fd00:ec2::254"),
    ("Amazon EKS, IPv6", "fd00:ec2::23"), ("Google, IPv6", "fd20:ce::254"), ("Azure", "168.63.129.16"),
    ("Alibaba", "100.100.100.200"), ("Alibaba, IPv6", "fd00:100::100:200"), ("Oracle, older", "192.0.0.192"),
    ("Oracle, IPv6", "fd00:c1::a9fe:a9fe"), ("OpenStack, IPv6", "fe80::a9fe:a9fe"), ("Tencent", "169.254.0.23"),
    ("Scaleway", "169.254.42.42"), ("Scaleway, IPv6", "fd00:42::42"), ("Akamai, IPv6", "fd00:a9fe:a9fe::1"),
    ("Volcengine", "100.96.0.96"),
]  # fmt: skip
_METADATA_NAMES = [
    "metadata.google.internal", "metadata", "metadata.goog", "instance-data", "metadata.azure.internal",
    "metadata.tencentyun.com", "a.metadata.google.internal", "169.254.169.254.nip.io", "www.spoofed.example",
]  # fmt: skip
METADATA = [address for _, address in _METADATA]


def _literal(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


def ranges() -> Iterable[Case]:
    """Both ends of every special range, and their neighbours, as literals and as what a name resolves to."""
    for first, last, reason, neighbours in _V4_EDGES:
        for address in (first, last):
            yield Case("ranges", _literal(address), reason, "the edge of a range")
            yield Case("ranges", "https://name.example/", reason, f"a name for {address}", (address,))
        for address in neighbours:
            yield Case("ranges", _literal(address), "", "just outside a range")
            yield Case("ranges", "https://name.example/", "", f"a name for {address}", (address,))
    for address, reason in _V6:
        yield Case("ranges", _literal(address), reason or "local NAT64", "an IPv6 range")
        yield Case("ranges", "http://name.example/", reason or "local NAT64", f"a name for {address}", (address,))
    for address in _V6_PUBLIC:
        yield Case("ranges", _literal(address), "", "a public IPv6 address")
        yield Case("ranges", "http://name.example/", "", f"a name for {address}", (address,))


def metadata() -> Iterable[Case]:
    """Where clouds hand out credentials."""
    for cloud, address in _METADATA:
        yield Case("metadata", _literal(address), "cloud metadata", cloud)
        yield Case("metadata", "http://name.example/latest/meta-data/", "cloud metadata", cloud, (address,))
    for name in _METADATA_NAMES:
        yield Case("metadata", f"http://{name}/", "cloud metadata", "its name", ("169.254.169.254",))


def answers() -> Iterable[Case]:
    """What a resolver can say of a name."""
    inside = [("10.0.0.1", "private"), ("::1", "loopback"), ("fd00::1", "private"), ("::ffff:127.0.0.1", "loopback"),
              ("169.254.169.254", "cloud metadata"), ("64:ff9b::7f00:1", "loopback")]  # fmt: skip
    public = ("93.184.216.34", "2606:2800:220:1::1")
    for address, reason in inside:
        mixtures = [(public[0], address), (address, public[0]), (*public, address), (address, *public),
                    (public[1], address, public[1])]  # fmt: skip
        for mixture in mixtures:
            yield Case("mixed answers", "https://mixed.example/", reason, "one answer is inside", mixture)
    yield Case("mixed answers", "http://mixed.example/", "", "all answers are outside", public)
    yield Case("odd answers", "http://odd.example/", "no address", "an empty answer", ())
    texts = ["", " ", "localhost", "127.1", "0x7f.1", "2130706433", "example.com", "[::1]", "1.1.1.1 ", "1.1.1.1:80",
             "1.1.1.1/32", "1.1.1.01", "\u2460.1.1.1", "None", "::ffff:127.1", "1.1.1.1\x00"]  # fmt: skip
    for answer in texts:
        for rest in ((), (OUTSIDE,)):
            yield Case("odd answers", "http://odd.example/", "not an IP address", f"{answer!r}", (*rest, answer))


def combinations(count: int = 150) -> Iterable[Case]:
    """Special addresses in a random spelling, embedding, place and path; the same ones each time."""
    chosen = random.Random(SEED)
    for _ in range(count):
        text = chosen.choice(list(SPECIAL))
        number, reason = int(IPv4Address(text)), SPECIAL[text]
        port = chosen.choice(["", ":80", ":8080", ":443", ":65535"])
        path = chosen.choice(["", "/", "/@example.com", "?http://example.com/", "#example.com", "/example.com:80"])
        scheme = chosen.choice(["http", "https", "HTTP", "hTTps"])
        name = chosen.choice([*EMBEDDINGS, *(name for name in SPELLINGS if not name.startswith("parts"))])
        if name in EMBEDDINGS:
            host, reason = bracketed(EMBEDDINGS[name](number)), _reason_of(name, text)
            host = host.upper() if chosen.random() < 0.5 else host
        else:
            host = SPELLINGS[name](number)
        yield Case("combinations", f"{scheme}://{host}{port}{path}", reason, f"{name} {text}")
