"""Which targets may be called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from automate_core.egress.rules import HostRules, parse_hosts
from automate_core.egress.targets import (
    DEFAULT_PORTS,
    METADATA,
    OF_THE_SITE,
    Address,
    Target,
    embedded_address,
    judge_address,
    parse_address,
    tunnelled_addresses,
    unmapped,
)
from automate_core.errors import SSRFBlocked

__all__ = ["EgressPolicy"]


class _Refusal(NamedTuple):
    reason: str
    remedy: str
    setting: str


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Which targets may be called.

    Without lists: public addresses only, and of the ports below 1024 only 80 and 443, so that nothing can be made to
    speak to a mail server.

    Args:
        allow_private: Whether private and special addresses, and every port, may be called (``POLICY.allow_ssrf``).
        allow: Exceptions (``POLICY.egress_allow``). ``"host:port"`` vouches for a name and whatever it resolves to,
            except cloud metadata; a network (``"10.1.0.0/16"``, every port) for its addresses, except cloud metadata
            too; ``"address:port"`` (``"[::1]:8080"``) for this address, whatever name led there.
        deny: What must not be called whatever else is said (``POLICY.egress_deny``): hosts by name, ``"*.domain"``,
            addresses, each with a port or for all of them, and networks.
        only: Where it is not empty, nothing else may be called (``POLICY.egress_only``); in the same forms. It opens
            no private address.
        where: Where its lists are set, for error messages.
        also: Another policy that must allow the target too.
        services: Endpoints, as :attr:`Target.endpoint` writes them, that another setting names as a service to be
            called, such as the ``base_url`` of an LLM provider. At these very hosts and ports, loopback, private and
            carrier-grade NAT addresses need no exception, nor does a low port; every other special address does.

    Raises:
        ConfigurationError: If an entry has none of these forms.
    """

    allow_private: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    where: str = "POLICY"
    also: EgressPolicy | None = None
    services: tuple[str, ...] = ()
    _allow: HostRules = field(init=False, repr=False, compare=False)
    _deny: HostRules = field(init=False, repr=False, compare=False)
    _only: HostRules = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_allow", parse_hosts(self.allow, f"{self.where}.egress_allow", vouches=True))
        object.__setattr__(self, "_deny", parse_hosts(self.deny, f"{self.where}.egress_deny"))
        object.__setattr__(self, "_only", parse_hosts(self.only, f"{self.where}.egress_only"))

    def check_name(self, target: Target) -> None:
        """Refuse a target that needs no resolving to be refused. One that passes is still to be :meth:`check`-ed.

        Args:
            target: Where the request goes.

        Raises:
            SSRFBlocked: If its name is denied, or what may be called is listed by name and it is not.
        """
        refusal = self._judge_name(target)
        if refusal is not None:
            raise _blocked(target, "", refusal)
        if self.also is not None:
            self.also.check_name(target)

    def check(self, target: Target, addresses: Iterable[str | Address]) -> None:
        """Refuse a target unless it and every address that it resolved to may be called.

        Args:
            target: Where the request goes.
            addresses: All of its addresses; whoever connects must take one of these.

        Raises:
            SSRFBlocked: If its name is not allowed, there is no address, or one of them is not allowed; the message
                names it, why, and the setting.
        """
        judged = list(addresses)
        self.check_name(target)
        if not judged:
            raise _blocked(target, "", _Refusal("it has no address", "Check the name.", ""))
        for address in judged:
            refusal = self._judge(target, address)
            if refusal is not None:
                raise _blocked(target, str(address), refusal)
        if self.also is not None:
            self.also.check(target, judged)

    def _judge_name(self, target: Target) -> _Refusal | None:
        if self._deny.lists_name(target):
            return self._denied()
        if self.only and self._only.is_by_name and not self._only.lists_name(target):
            return self._not_listed(target)
        return None

    def _judge(self, target: Target, address: str | Address) -> _Refusal | None:
        parsed = parse_address(str(address))
        if parsed is None:
            return _Refusal("not an IP address", "Check the name.", "")
        if any(self._deny.lists_address(form, target.port) for form in _forms(parsed)):
            return self._denied()
        plain = unmapped(parsed)
        if self.only and not (self._only.lists_name(target) or self._only.lists_address(plain, target.port)):
            return self._not_listed(target)
        if self.allow_private or self._is_excepted(target, plain):
            return None
        setting = f"{self.where}.egress_allow"
        reason = judge_address(parsed)
        if target.endpoint in self.services:
            reason = None if reason in OF_THE_SITE else reason
        elif target.port < 1024 and target.port not in DEFAULT_PORTS.values():
            reason = f"port {target.port} is below 1024"
        if reason is None:
            return None
        if reason == METADATA:
            return _Refusal(reason, f"{setting} opens it for an entry with the address itself only.", setting)
        return _Refusal(reason, f"If it is meant to be, list '{target.endpoint}' in {setting}.", setting)

    def _is_excepted(self, target: Target, address: Address) -> bool:
        if self._allow.lists_single(address, target.port):
            return True
        listed = self._allow.lists_name(target) or self._allow.lists_address(address, target.port)
        return listed and judge_address(address) != METADATA

    def _denied(self) -> _Refusal:
        setting = f"{self.where}.egress_deny"
        return _Refusal("it is denied", f"{setting} lists it; that counts before every other list.", setting)

    def _not_listed(self, target: Target) -> _Refusal:
        setting = f"{self.where}.egress_only"
        return _Refusal(
            "it is not among what may be called",
            f"If it is meant to be, list '{target.host.rstrip('.')}' in {setting}.",
            setting,
        )


def _forms(address: Address) -> tuple[Address, ...]:
    """Return an address and those that it leads to: who denies a network denies every way into it."""
    if isinstance(address, IPv4Address):
        return (address,)
    plain = IPv6Address(int(address))  # without its zone
    inner = embedded_address(plain)
    return (plain, *(() if inner is None else (inner,)), *tunnelled_addresses(plain))


def _blocked(target: Target, address: str, refusal: _Refusal) -> SSRFBlocked:
    resolved = f" ({address})" if address and address != target.host else ""
    return SSRFBlocked(
        f"{target.origin}{resolved} must not be called: {refusal.reason}. {refusal.remedy}",
        context={
            "host": target.host,
            "port": target.port,
            "address": address,
            "reason": refusal.reason,
            "setting": refusal.setting,
        },
    )
