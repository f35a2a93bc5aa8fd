"""Tokens and policies of the Vault that tests talk to. See :mod:`vault_server`."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vault_engines import DEFAULT_LEASE, NOTHING, Answer, Call, Clock, Refusal, seconds, stamp

DEFAULT_POLICY: Mapping[str, Iterable[str]] = {
    "auth/token/lookup-self": ("read",),
    "auth/token/renew-self": ("update",),
    "auth/token/revoke-self": ("update",),
}


@dataclass
class Token:
    """A token and its lease; ``expires`` 0 means never."""

    policies: list[str]
    created: float
    ttl: int
    path: str
    namespace: str = ""
    max_ttl: int = 0
    period: int = 0
    renewable: bool = True
    uses: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    expires: float = 0
    id: str = field(default_factory=lambda: f"hvs.{secrets.token_urlsafe(24)}", repr=False)
    accessor: str = field(default_factory=lambda: secrets.token_urlsafe(18))


class Tokens:
    """Every token that is alive.

    Args:
        clock: Gives the time in seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: dict[str, Token] = {}

    def issue(self, token: Token) -> Token:
        """Start the lease of a token and keep it."""
        token.ttl = token.period or token.ttl
        if token.max_ttl:
            token.ttl = min(token.ttl or token.max_ttl, token.max_ttl)
        token.expires = token.created + token.ttl if token.ttl else 0
        self._tokens[token.id] = token
        return token

    def find(self, text: str) -> Token | None:
        """Return a token that is alive; one that has expired is forgotten here."""
        token = self._tokens.get(text)
        if token and token.expires and token.expires <= self._clock():
            self.revoke(token)
            return None
        return token

    def find_accessor(self, accessor: str) -> Token:
        """Return the token of an accessor; :class:`Refusal` where there is none."""
        for token in list(self._tokens.values()):
            if token.accessor == accessor and self.find(token.id):
                return token
        raise Refusal(403, "invalid accessor")

    def spend(self, token: Token) -> None:
        """Count one use of a token with a limit; after the last it is revoked."""
        if token.uses:
            token.uses -= 1
            if not token.uses:
                self.revoke(token)

    def revoke(self, token: Token) -> None:
        """Forget a token."""
        self._tokens.pop(token.id, None)

    def renew(self, token: Token, increment: int) -> Answer:
        """Prolong a lease from now on, within the token's maximum, which counts from its creation."""
        if not token.renewable or not token.expires:
            raise Refusal(400, "lease is not renewable")
        wanted = token.period or increment or token.ttl
        now = self._clock()
        granted = min(wanted, int(token.created + token.max_ttl - now)) if token.max_ttl else wanted
        token.expires = now + granted
        capped = f'TTL of "{wanted}s" exceeded the effective max_ttl of "{token.max_ttl}s"; TTL value is capped'
        return Answer(auth=self.describe_lease(token), warnings=[capped] if granted < wanted else None)

    def describe_lease(self, token: Token) -> dict[str, Any]:
        """The ``auth`` of a login or renewal."""
        return {
            "client_token": token.id,
            "accessor": token.accessor,
            "policies": token.policies,
            "token_policies": token.policies,
            "metadata": token.metadata or None,
            "lease_duration": self._remaining(token),
            "renewable": token.renewable and bool(token.expires),
            "entity_id": "",
            "token_type": "service",
            "orphan": True,
            "num_uses": token.uses,
        }

    def describe(self, token: Token, *, by_accessor: bool = False) -> dict[str, Any]:
        """The ``data`` of a lookup; by accessor it does not tell the token."""
        return {
            "id": "" if by_accessor else token.id,
            "accessor": token.accessor,
            "creation_time": int(token.created),
            "creation_ttl": token.ttl,
            "display_name": token.path.removeprefix("auth/").partition("/")[0],
            "entity_id": "",
            "expire_time": stamp(token.expires) or None,
            "explicit_max_ttl": token.max_ttl,
            "issue_time": stamp(token.created),
            "meta": token.metadata or None,
            "num_uses": token.uses,
            "orphan": True,
            "path": token.path,
            "policies": token.policies,
            "renewable": token.renewable and bool(token.expires),
            "ttl": self._remaining(token),
            "type": "service",
        }

    def _remaining(self, token: Token) -> int:
        return int(token.expires - self._clock()) if token.expires else 0

    def answer(self, call: Call, caller: Token) -> Answer:
        """Answer ``auth/token/…``."""
        match (call.path, call.operation):
            case ("lookup-self", "read"):
                return Answer(self.describe(caller))
            case ("renew-self", "write"):
                return self.renew(caller, seconds(call.body.get("increment", 0)))
            case ("revoke-self", "write"):
                self.revoke(caller)
                return NOTHING
            case ("create" | "create-orphan", "write"):
                return self._create(call.body, caller)
            case ("lookup", "write"):
                return Answer(self.describe(self._named(call.body)))
            case ("renew", "write"):
                return self.renew(self._named(call.body), seconds(call.body.get("increment", 0)))
            case ("revoke", "write"):
                self.revoke(self._named(call.body))
                return NOTHING
            case ("lookup-accessor", "write"):
                return Answer(self.describe(self.find_accessor(call.body["accessor"]), by_accessor=True))
            case ("revoke-accessor", "write"):
                self.revoke(self.find_accessor(call.body["accessor"]))
                return NOTHING
        raise Refusal(404)

    def _named(self, body: Mapping[str, Any]) -> Token:
        token = self.find(str(body.get("token", "")))
        if token is None:
            raise Refusal(403, "bad token")
        return token

    def _create(self, body: Mapping[str, Any], caller: Token) -> Answer:
        policies = list(body.get("policies") or caller.policies)
        if "root" not in caller.policies and not set(policies) <= set(caller.policies):
            raise Refusal(400, "child policies must be subset of parent")
        if "root" not in policies and not body.get("no_default_policy"):
            policies = sorted({"default", *policies})
        token = Token(
            policies,
            self._clock(),
            seconds(body.get("ttl", 0)) or (0 if "root" in policies else DEFAULT_LEASE),
            "auth/token/create",
            namespace=caller.namespace,
            max_ttl=seconds(body.get("explicit_max_ttl", 0)),
            period=seconds(body.get("period", 0)),
            renewable=bool(body.get("renewable", True)),
            uses=int(body.get("num_uses", 0)),
            metadata=dict(body.get("meta") or {}),
        )
        return Answer(auth=self.describe_lease(self.issue(token)))


class Policies:
    """The policies of a namespace: each gives capabilities to path patterns."""

    def __init__(self) -> None:
        self._rules: dict[str, dict[str, Iterable[str]]] = {"default": dict(DEFAULT_POLICY)}

    def write(self, name: str, document: Any) -> None:
        """Keep a policy written as JSON: ``{"path": {"secret/data/*": {"capabilities": ["read"]}}}``.

        Args:
            name: The policy's name.
            document: The document, or its text.
        """
        try:
            found = json.loads(document) if isinstance(document, str) else document
            self._rules[name] = {path.lstrip("/"): rule["capabilities"] for path, rule in found["path"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Refusal(400, "failed to parse policy: only JSON is read here") from None

    def allow(self, names: Iterable[str], path: str, capability: str) -> bool:
        """Whether one of the policies gives a capability on a path: the most specific pattern decides, deny wins.

        A list is of a folder, so that patterns with and without the slash at the end are meant.
        """
        rules = self._most_specific(names, f"{path.rstrip('/')}/" if capability == "list" else path)
        if not rules and capability == "list":
            rules = self._most_specific(names, path.rstrip("/"))
        return capability in rules and "deny" not in rules

    def allow_any_below(self, names: Iterable[str], mount: str) -> bool:
        """Whether one of the policies gives any capability within a mount."""
        return "root" in names or any(
            set(rule) - {"deny"} and (pattern.startswith(mount) or _regex(pattern).match(mount))
            for name in names
            for pattern, rule in self._rules.get(name, {}).items()
        )

    def _most_specific(self, names: Iterable[str], path: str) -> set[str]:
        if "root" in names:
            return {"create", "read", "update", "delete", "list", "sudo"}
        found: dict[str, set[str]] = {}
        for name in names:
            for pattern, rule in self._rules.get(name, {}).items():
                if _regex(pattern).fullmatch(path):
                    found.setdefault(pattern, set()).update(rule)
        best = max(
            found, default=None, key=lambda pattern: (not pattern.endswith("*"), "+" not in pattern, len(pattern))
        )
        return found[best] if best else set()


def _regex(pattern: str) -> re.Pattern[str]:
    """Compile a path pattern: ``+`` is one part of the path, ``*`` at the end is anything."""
    head = pattern.removesuffix("*")
    tail = ".*" if pattern.endswith("*") else ""
    return re.compile("/".join("[^/]+" if part == "+" else re.escape(part) for part in head.split("/")) + tail)
