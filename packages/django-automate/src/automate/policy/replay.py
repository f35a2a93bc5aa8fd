"""Asking a policy about the steps that have run: what it would have refused, and what it would let through.

Nothing is called and nothing is written. A step is judged by its action, one of ``http`` by the URL that its row holds
and all that it was redirected to, one of ``llm`` by where the settings of today send its provider, and one of a
connector that always calls the same hosts by those; no name is resolved unless a resolver is given. What the policy
refused then is known with the address that it was refused for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from automate_core import settings
from automate_core.egress import Target, parse_url
from automate_core.egress.resolving import Resolver, resolve_host
from automate_core.errors import NotRegisteredError, PluginLoadError, PolicyError, SSRFBlocked
from automate_core.policy import EffectivePolicy, effective_policy
from automate_core.registry import registry
from automate_core.settings import PolicySettings, ProviderSettings

from automate.policy.report import Example, Group, PolicyReport

__all__ = ["Call", "Resolver", "judge", "replay", "resolve"]

_BATCH = 500
_MOST_GROUPS = 1000
"""Groups of either kind that are kept; there may be a tenant for every customer."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of one attempt of a step.

    Args:
        action: What it called.
        targets: Where it went, as far as that is known, each with the addresses that are known of it.
        services: Endpoints that another setting names as a service; see
            :class:`~automate_core.egress.EgressPolicy`.
    """

    action: str
    targets: tuple[tuple[Target, tuple[str, ...]], ...] = ()
    services: tuple[str, ...] = ()


def judge(policy: EffectivePolicy, call: Call) -> PolicyError | None:
    """Say why a policy refuses a call.

    Args:
        policy: The policy.
        call: The call. A target without a known address is judged by its name.

    Returns:
        The error that the call would get; None where nothing that is known speaks against it.
    """
    try:
        policy.actions.check(call.action)
        egress = replace(policy.egress, services=call.services) if call.services else policy.egress
        for target, addresses in call.targets:
            if addresses:
                egress.check(target, addresses)
            else:
                egress.check_name(target)
    except PolicyError as error:
        return error
    return None


@lru_cache(maxsize=4096)
def resolve(host: str, port: int) -> tuple[str, ...]:
    """Ask the system for the addresses of a host, as they are now.

    Args:
        host: The host.
        port: The port.

    Returns:
        The addresses; none where it does not resolve.
    """
    try:
        return tuple(resolve_host(host, port))
    except OSError:
        return ()


def replay(
    policy: PolicySettings,
    *,
    since: datetime | None = None,
    limit: int = 10_000,
    examples: int = 3,
    resolver: Resolver | None = None,
    using: str = "default",
    progress: Callable[[int], None] | None = None,
) -> PolicyReport:
    """Ask a policy about the attempts of steps that are on record, newest first.

    Args:
        policy: The section ``POLICY`` that is asked.
        since: Only attempts that ended from then on.
        limit: How many are looked at, at the most.
        examples: How many are shown of each group.
        resolver: Looks up the addresses of hosts; None judges those by name whose addresses are not on record.
        using: Alias of the database; a replica will do.
        progress: Called now and then with the number of attempts looked at so far.

    Returns:
        What was found.
    """
    count = _Count(policy, examples, resolver)
    for rows in _batches(since, limit + 1, using):
        for row in rows:
            if count.steps == limit:
                return count.report(complete=False)
            count.add(row)
        if progress is not None and count.steps >= _BATCH:
            progress(count.steps)
    return count.report(complete=True)


# -- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    pk: int
    run: UUID
    step: str
    action: str
    error: dict[str, Any] | None
    at: datetime
    tenant: str
    workflow: str
    url: Any
    final_url: Any
    redirects: Any
    provider: Any


def _batches(since: datetime | None, limit: int, using: str) -> Iterator[list[_Row]]:
    """Yield attempts, newest first, a batch at a time; of inputs and outputs only what tells of hosts is read."""
    from automate.models import StepRun

    rows = StepRun.objects.using(using).exclude(status=StepRun.Status.SKIPPED).filter(finished_at__isnull=False)
    names = ("pk", "run", "step_id", "action", "error", "finished_at", "run__execution__tenant")
    found = rows.order_by("-pk").values_list(
        *names,
        "run__execution__version__workflow__slug",
        "input__url",
        "output__url",
        "output__redirects",
        "input__provider",
    )
    last: int | None = None
    while limit > 0:
        page = found if last is None else found.filter(pk__lt=last)
        batch = [_Row(*row) for row in page[: min(_BATCH, limit)]]
        recent = [row for row in batch if since is None or row.at >= since]
        if not recent:  # rows are written when their attempts end, so what follows is older still
            return
        yield recent
        last, limit = batch[-1].pk, limit - len(recent)


def _hosts_of(connector: str) -> tuple[str, ...] | None:
    """Return the hosts that a connector always calls; None where nobody can tell."""
    try:
        return registry.get_connector(connector).hosts
    except (NotRegisteredError, PluginLoadError):  # its rows outlive it
        return None


def _call_of(row: _Row, hosts: tuple[str, ...] | None, resolver: Resolver | None) -> Call:
    urls = [f"https://{host}/" for host in hosts or ()]
    services: tuple[str, ...] = ()
    if row.action.startswith("llm."):
        urls, services = _provider_of(row)
    if row.action.startswith("http."):
        passed = row.redirects if isinstance(row.redirects, list) else []
        urls = [url for url in (row.url, *(f"{origin}/" for origin in passed), row.final_url) if isinstance(url, str)]
    targets = [_addressed(target, resolver) for target in map(_target, dict.fromkeys(urls)) if target is not None]
    if (refused := _refused(row)) is not None:
        targets = [one for one in targets if one[0].endpoint != refused[0].endpoint] + [refused]
    return Call(row.action, tuple(targets), services)


def _provider_of(row: _Row) -> tuple[list[str], tuple[str, ...]]:
    """Return where a provider is called, and whether that is a service which the settings name."""
    llm = settings.current().llm
    name = row.provider if isinstance(row.provider, str) and row.provider else llm.provider
    own = llm.providers.get(name, ProviderSettings()).base_url
    if own:
        return [own], (parse_url(own).endpoint,)
    try:
        url = getattr(registry.load("llm_providers", name), "default_base_url", "")
    except (NotRegisteredError, PluginLoadError):  # its rows outlive it
        return [], ()
    return [url] if url else [], ()


def _target(url: str) -> Target | None:
    try:
        return parse_url(url)
    except SSRFBlocked:
        return None  # a relative one, or one that no policy would let through


def _addressed(target: Target, resolver: Resolver | None) -> tuple[Target, tuple[str, ...]]:
    if target.literal is not None:
        return target, (target.literal,)
    return target, () if resolver is None else tuple(resolver(target.host, target.port))


def _refused(row: _Row) -> tuple[Target, tuple[str, ...]] | None:
    """Return for which host and address an attempt was refused."""
    context = (row.error or {}).get("context")
    if not _was_denied(row) or not isinstance(context, dict):
        return None
    host, port, address = context.get("host"), context.get("port"), context.get("address")
    if not isinstance(host, str) or not isinstance(port, int):
        return None
    return Target.at(host, port), (address,) if isinstance(address, str) and address else ()


def _was_denied(row: _Row) -> bool:
    from automate.runtime.denials import DENIED

    return row.error is not None and row.error.get("code") in DENIED


def _refusing_setting(row: _Row) -> str:
    """Return the setting of the policy that refused an attempt; empty where no policy did, such as a malformed URL."""
    context = (row.error or {}).get("context")
    setting = context.get("setting") if isinstance(context, dict) else None
    return setting if isinstance(setting, str) and setting.startswith("POLICY.") else ""


# -- counting ---------------------------------------------------------------------------------------------------------

_Key = tuple[str, str, str, str]


@dataclass(slots=True)
class _Groups:
    """Counts and examples by group, in bounded memory."""

    examples: int
    counts: dict[_Key, int] = field(default_factory=dict)
    shown: dict[_Key, list[Example]] = field(default_factory=dict)
    left_out: int = 0

    def add(self, row: _Row, setting: str, message: str) -> None:
        key = (row.workflow, row.tenant, row.action, setting)
        if key not in self.counts and len(self.counts) >= _MOST_GROUPS:
            self.left_out += 1
            return
        self.counts[key] = self.counts.get(key, 0) + 1
        shown = self.shown.setdefault(key, [])
        if len(shown) < self.examples:
            shown.append(Example(str(row.run), row.step, row.at, message))

    def all(self) -> tuple[Group, ...]:
        """Return the groups, the largest first."""
        ordered = sorted(self.counts, key=lambda key: (-self.counts[key], key))
        return tuple(Group(*key, self.counts[key], tuple(self.shown[key])) for key in ordered)


class _Count:
    def __init__(self, policy: PolicySettings, examples: int, resolver: Resolver | None) -> None:
        self.steps = 0
        self._policy_of = lru_cache(maxsize=256)(lambda tenant: effective_policy(policy, tenant))
        self._hosts_of = lru_cache(maxsize=None)(_hosts_of)
        self._resolver = resolver
        self._blocked, self._allowed = _Groups(examples), _Groups(examples)
        self._blocked_before = self._by_name = self._unknown = 0
        self._oldest: datetime | None = None
        self._newest: datetime | None = None

    def add(self, row: _Row) -> None:
        self.steps += 1
        self._oldest = row.at if self._oldest is None else min(self._oldest, row.at)
        self._newest = row.at if self._newest is None else max(self._newest, row.at)
        hosts = self._hosts_of(row.action.partition(".")[0])
        call = _call_of(row, hosts, self._resolver)
        self._by_name += any(not addresses for _, addresses in call.targets)
        self._unknown += hosts is None and not call.targets
        refusal = judge(self._policy_of(row.tenant), call)
        if not _was_denied(row):
            if refusal is not None:
                self._blocked.add(row, str(refusal.context.get("setting") or refusal.code), str(refusal))
        elif refusal is None and (setting := _refusing_setting(row)):
            self._allowed.add(row, setting, str((row.error or {}).get("message", "")))
        else:
            self._blocked_before += 1

    def report(self, *, complete: bool) -> PolicyReport:
        return PolicyReport(
            steps=self.steps,
            oldest=self._oldest,
            newest=self._newest,
            complete=complete,
            blocked=self._blocked.all(),
            allowed=self._allowed.all(),
            blocked_before=self._blocked_before,
            by_name=self._by_name,
            unknown=self._unknown,
            left_out=self._blocked.left_out + self._allowed.left_out,
        )
