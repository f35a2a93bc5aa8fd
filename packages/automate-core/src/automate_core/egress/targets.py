"""URLs and addresses: where a request goes, and which addresses are special."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urljoin

from automate_core.errors import SSRFBlocked

__all__ = [
    "DEFAULT_PORTS",
    "METADATA",
    "OF_THE_SITE",
    "Address",
    "Network",
    "Target",
    "embedded_address",
    "join_url",
    "judge_address",
    "parse_address",
    "parse_endpoint",
    "parse_url",
    "tunnelled_addresses",
    "unmapped",
]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL_LENGTH = 8192
"""Characters; longer URLs are refused by most servers anyway."""

DEFAULT_PORTS = {"http": 80, "https": 443}
"""By scheme."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,62})"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMERIC_HOST = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, parsed once.

    Args:
        scheme: ``http`` or ``https``.
        host: The host in lower case: a name as it is written, or an IP address without brackets.
        port: The port, the scheme's own where the URL has none.
        path: Path and query, as they are written; ``/`` at least. The fragment is dropped.
    """

    scheme: str
    host: str
    port: int
    path: str = "/"

    @classmethod
    def at(cls, host: str, port: int) -> Target:
        """Return what a connection leads to, of which nobody knows the scheme; the port tells which one to show.

        Args:
            host: A name, or an IP address without brackets.
            port: The port.
        """
        return cls("https" if port == DEFAULT_PORTS["https"] else "http", host, port)

    @property
    def endpoint(self) -> str:
        """Host and port, an IPv6 address in brackets: the form of ``POLICY.egress_allow``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port, without the port where it is the scheme's own."""
        default = f":{DEFAULT_PORTS.get(self.scheme)}"
        return f"{self.scheme}://{self.endpoint.removesuffix(default)}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return self.origin + self.path

    @property
    def literal(self) -> str | None:
        """The host where it is an IP address, None where it is a name that must be resolved."""
        return self.host if parse_address(self.host) is not None else None


def parse_url(text: str) -> Target:
    """Take a URL apart, strictly: what two parsers could read differently is refused.

    Args:
        text: An absolute URL.

    Returns:
        Its parts. A host that merely looks like a number (``0x7f.1``) stays a name: what it resolves to is judged.

    Raises:
        SSRFBlocked: If the scheme is not http or https, or the text has user information, a backslash, a control
            character, no host, a host outside ASCII, or a wrong port. The message never repeats the URL.
    """
    if len(text) > MAX_URL_LENGTH:
        raise _refused(f"it is longer than {MAX_URL_LENGTH} characters")
    if "\\" in text or _CONTROL.search(text) or not _encodable(text):
        raise _refused("it holds a backslash or a control character; percent-encode it")
    match = _URL.fullmatch(text)
    if match is None:
        raise _refused("it is not absolute; write http://host/… or https://host/…")
    scheme, authority, path, query = match[1].lower(), match[2], match[3], match[4] or ""
    if scheme not in DEFAULT_PORTS:
        raise _refused(f"its scheme is {scheme!r}; only http and https may be called")
    if "@" in authority:
        raise _refused("it holds user information; send credentials in a header")
    if not authority.isascii():
        raise _refused("its host is not ASCII; write an international name in its xn-- form")
    parts = _AUTHORITY.fullmatch(authority.lower())
    if parts is None:
        raise _refused("its host or port is malformed")
    return Target(scheme, _host(parts[1]), _port(parts[2], scheme), (path or "/") + query)


def join_url(base: Target, location: str) -> Target:
    """Find where a redirect leads.

    Args:
        base: What was called.
        location: The ``Location`` header, absolute or relative.

    Returns:
        The next target, parsed as strictly as the first.

    Raises:
        SSRFBlocked: If it is malformed, as in :func:`parse_url`.
    """
    if "\\" in location or _CONTROL.search(location):  # before urljoin, which drops some of these
        raise _refused("it redirects to a text with a backslash or a control character")
    if _SCHEME.match(location):
        return parse_url(location)
    if location.startswith("//"):
        return parse_url(f"{base.scheme}:{location}")
    return parse_url(urljoin(base.url, location))


def _refused(why: str) -> SSRFBlocked:
    return SSRFBlocked(f"The URL is refused: {why}.", context={"reason": why})


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _host(text: str) -> str:
    if text.startswith("["):
        address = parse_address(text[1:-1])
        if not isinstance(address, IPv6Address):
            raise _refused("its IPv6 address is malformed")
        return str(address)
    if len(text) > 253 or not _HOST.fullmatch(text):
        raise _refused("its host is malformed")
    return text


def _port(text: str | None, scheme: str) -> int:
    port = DEFAULT_PORTS[scheme] if text is None else int(text)
    if not 0 < port < 65536:
        raise _refused("its port is not between 1 and 65535")
    return port


def parse_endpoint(text: str) -> tuple[str, int | None]:
    """Take a host apart from its port, as settings write them.

    Args:
        text: A host or an address, a port or none: ``"example.com:443"``, ``"10.0.0.1"``, ``"[::1]:8080"``, ``"::1"``.

    Returns:
        The host in lower case, without a dot at its end, and the port.

    Raises:
        ValueError: If it is neither, with why. An address must have its usual form: who means ``0x7f.1`` means
            ``127.0.0.1``.
    """
    if (bare := parse_address(text)) is not None:
        return str(bare), None
    parts = _AUTHORITY.fullmatch(text.lower())
    if parts is None:
        raise ValueError("it must be a host or an address, with a port or without")
    try:
        host, port = _host(parts[1]), None if parts[2] is None else _port(parts[2], "http")
    except SSRFBlocked as error:
        raise ValueError(error.context["reason"]) from None
    if _NUMERIC_HOST.fullmatch(host) and parse_address(host) is None:
        raise ValueError("write the address with four decimal numbers")
    return host.rstrip("."), port


def parse_address(text: str) -> Address | None:
    """Read an IP address.

    Args:
        text: Its text.

    Returns:
        The address; None where the text is none.
    """
    try:
        return ip_address(text)
    except ValueError:
        return None


# -- addresses ---------------------------------------------------------------------------------------------------------

_METADATA = tuple(
    ip_network(text)
    for text in (
        "169.254.169.254", "169.254.169.252", "169.254.170.2", "169.254.170.23", "169.254.0.23", "169.254.42.42",
        "100.100.100.200", "100.96.0.96", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23",
        "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:a9fe:a9fe::1", "fd00:100::100:200",
        "fe80::a9fe:a9fe",
    )
)  # fmt: skip
"""Services that hand a machine its credentials. Not opened by a host or a network, only by the address itself."""
METADATA = "cloud metadata"
"""Why those are refused."""

OF_THE_SITE = frozenset({"loopback", "private", "carrier-grade NAT"})
"""Why addresses are refused at which an installation has services of its own."""

_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), reason)
    for text, reason in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("100::/64", "discard-only"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
"""Spelt out although :mod:`ipaddress` knows most of it: its answers differ from one Python release to the next."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")

_EMBEDDING: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("::/96"), 0),  # IPv4-compatible
    (IPv6Network("2002::/16"), 80),  # 6to4
)
"""IPv6 forms that lead to an IPv4 address, and how many bits follow it. Teredo and local NAT64 are refused whole."""

_TEREDO = IPv6Network("2001::/32")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_ISATAP = 0x5EFE


def judge_address(address: str | Address) -> str | None:
    """Say why an address must not be called.

    Args:
        address: An IPv4 or IPv6 address. IPv4-mapped, -compatible, -translated, 6to4 and NAT64 addresses are judged by
            the IPv4 address inside; so are ISATAP addresses, which must be public outside too.

    Returns:
        The reason, for instance ``"loopback"``; None where the address is an ordinary public one. What is no address
        at all has a reason too.
    """
    parsed = parse_address(address) if isinstance(address, str) else address
    if parsed is None:
        return "not an IP address"
    return _judge_v6(parsed) if isinstance(parsed, IPv6Address) else _judge(parsed)


def _judge_v6(address: IPv6Address) -> str | None:
    plain = IPv6Address(int(address))  # without its zone
    embedded = embedded_address(plain)
    reasons = [_judge(one) for one in (embedded or plain, *tunnelled_addresses(plain))]
    if METADATA in reasons:
        return METADATA
    if address.scope_id is not None:
        return "bound to a network interface"
    if embedded is None and plain not in _GLOBAL_UNICAST:
        reasons.append("not global unicast")
    return next((reason for reason in reasons if reason), None)


def embedded_address(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to; None where it is one of its own.

    Args:
        address: The address.
    """
    if int(address) <= 1:  # unspecified and loopback would pass as IPv4-compatible
        return None
    for network, shift in _EMBEDDING:
        if address in network:
            return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return None


def tunnelled_addresses(address: IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses at which packets to an address may end, besides :func:`embedded_address`.

    Args:
        address: The address, without a zone.
    """
    number = int(address)
    found: list[int] = []
    if number >> 32 & 0xFDFFFFFF == _ISATAP:  # the bit left out says whether the address inside is unique
        found.append(number)
    if address in _TEREDO:
        found += [number >> 64, ~number]  # server, client
    if address in _LOCAL_NAT64:  # with prefixes of 96, 64, 56 and 48 bits
        found += [number, number >> 24]
        found += [number >> 64 << 24 | number >> 32 & 0xFFFFFF, number >> 64 << 16 | number >> 40 & 0xFFFF]
    return [IPv4Address(one & 0xFFFFFFFF) for one in found]


def unmapped(address: Address) -> Address:
    """Return the IPv4 address of an IPv4-mapped one, which is another way to write it; any other as it is.

    Args:
        address: The address.
    """
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _judge(address: Address) -> str | None:
    if any(address in network for network in _METADATA):
        return METADATA
    for network, reason in _REFUSED:
        if address in network:
            return reason
    return None if address.is_global and not address.is_multicast else "not globally reachable"
