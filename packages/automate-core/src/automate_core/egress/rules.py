"""The entries of the egress lists: names, names below a domain, addresses, networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from automate_core.egress.targets import Address, Network, Target, parse_address, parse_endpoint, unmapped
from automate_core.errors import ConfigurationError

__all__ = ["HostRules", "parse_hosts"]

_Port = int | None
"""None is every port."""
_MAPPED_PREFIX = 96
"""Bits of ``::ffff:0:0/96``, the network of the IPv4-mapped addresses."""


@dataclass(frozen=True, slots=True)
class HostRules:
    """One list, parsed.

    Args:
        names: Host names, each with a port.
        domains: What names below a domain end with, ``".example.com"``; ``""`` is every host.
        addresses: Addresses, each with a port.
        networks: Networks.
    """

    names: frozenset[tuple[str, _Port]] = frozenset()
    domains: frozenset[tuple[str, _Port]] = frozenset()
    addresses: frozenset[tuple[Address, _Port]] = frozenset()
    networks: tuple[Network, ...] = ()

    @property
    def is_by_name(self) -> bool:
        """Whether a host's name alone tells if it is listed."""
        return not self.addresses and not self.networks

    def lists_name(self, target: Target) -> bool:
        """Whether the host is listed by its name.

        Args:
            target: Where a request goes.
        """
        host = target.host.rstrip(".")
        ports = (target.port, None)
        if any((host, port) in self.names for port in ports):
            return True
        return any(port in ports and host.endswith(domain) for domain, port in self.domains)

    def lists_address(self, address: Address, port: int) -> bool:
        """Whether an address is listed, by itself or with its network.

        Args:
            address: The address.
            port: The port that is called.
        """
        return self.lists_single(address, port) or any(address in network for network in self.networks)

    def lists_single(self, address: Address, port: int) -> bool:
        """Whether an address is listed by itself.

        Args:
            address: The address.
            port: The port that is called.
        """
        return any((address, one) in self.addresses for one in (port, None))


def parse_hosts(entries: Iterable[str], setting: str, *, vouches: bool = False) -> HostRules:
    """Read the entries of one list.

    Args:
        entries: ``"example.com"``, ``"*.example.com"`` for every name below it, ``"*"`` for every host, an address,
            each with ``:port`` or for every port, or a network such as ``"10.1.0.0/16"``.
        setting: The setting, for error messages.
        vouches: Whether an entry opens something, and so must name host or address and port, or a network.

    Raises:
        ConfigurationError: If an entry has none of these forms.
    """
    names: set[tuple[str, _Port]] = set()
    domains: set[tuple[str, _Port]] = set()
    addresses: set[tuple[Address, _Port]] = set()
    networks: list[Network] = []
    for entry in entries:
        try:
            if "/" in entry:
                networks.append(_unmapped(ip_network(entry)))
                continue
            is_domain = entry.startswith("*") and not vouches
            host, port = _domain(entry) if is_domain else parse_endpoint(entry)
        except ValueError as error:
            raise ConfigurationError(f"{setting}: {entry!r}: {error}.") from None
        if vouches and port is None:
            raise ConfigurationError(
                f"{setting}: {entry!r} must be 'host:port', 'address:port' or a network such as '10.1.0.0/16'."
            )
        if is_domain:
            domains.add((host, port))
        elif (address := parse_address(host)) is not None:
            addresses.add((unmapped(address), port))
        else:
            names.add((host, port))
    return HostRules(frozenset(names), frozenset(domains), frozenset(addresses), tuple(networks))


def _unmapped(network: Network) -> Network:
    """Return the IPv4 network that an IPv4-mapped one stands for: addresses are judged in that form."""
    first = unmapped(network.network_address)
    if isinstance(network, IPv6Network) and isinstance(first, IPv4Address) and network.prefixlen >= _MAPPED_PREFIX:
        return IPv4Network((first, network.prefixlen - _MAPPED_PREFIX))
    return network


def _domain(entry: str) -> tuple[str, _Port]:
    rest = entry[1:]
    if rest[:1] in ("", ":"):
        return "", parse_endpoint(f"any{rest}")[1]
    if not rest.startswith("."):
        raise ValueError("a * stands at the beginning and for whole names: '*.example.com', or '*' for every host")
    host, port = parse_endpoint(rest[1:])
    if parse_address(host) is not None:
        raise ValueError("an address has nothing below it: write a network")
    return f".{host}", port
