"""What automations may do: patterns of actions, and tenants that narrow what the installation allows."""

from __future__ import annotations

from typing import Any

import pytest
from automate_core import settings
from automate_core.egress import parse_url
from automate_core.errors import ConfigurationError, ConnectorNotAllowed, SSRFBlocked
from automate_core.policy import ActionPolicy, current_policy, effective_policy, matches
from automate_core.settings import PolicySettings, parse
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

unhurried = hypothesis_settings(deadline=None)


def policy(**values: Any) -> PolicySettings:
    return parse({"POLICY": values}).policy


@pytest.mark.parametrize(
    ("pattern", "meant", "not_meant"),
    [
        ("*", ["http.request", "slack.post_message"], []),
        ("slack", ["slack.post_message"], ["slacker.post_message", "http.slack"]),
        ("http.*", ["http.request"], ["https.request", "http2.request"]),
        ("*.request", ["http.request", "soap.request"], ["http.request_all"]),
        ("slack.post_message", ["slack.post_message"], ["slack.post", "slack.post_messages"]),
        ("s?ack", ["slack.x", "stack.x"], ["sack.x"]),
    ],
)
def test_a_pattern_means_whole_actions(pattern: str, meant: list[str], not_meant: list[str]) -> None:
    assert [matches(pattern, action) for action in meant + not_meant] == [True] * len(meant) + [False] * len(not_meant)


@pytest.mark.parametrize(
    "pattern", ["", ".", "http.", ".request", "HTTP", "a.b.c", "h[a-z]", "http request", "a" * 101]
)
@pytest.mark.parametrize("setting", ["connector_allowlist", "connector_denylist"])
def test_a_malformed_pattern_is_refused_at_the_start(setting: str, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"POLICY\.{setting}: .*must be a connector"):
        policy(**{setting: [pattern]})
    with pytest.raises(ConfigurationError, match=rf"POLICY\.tenants\.acme\.{setting}: .*must be a connector"):
        policy(tenants={"acme": {setting: [pattern]}})


def test_the_denylist_counts_before_the_allowlist() -> None:
    actions = ActionPolicy(allow=("http.*", "slack"), deny=("slack.delete*",))
    assert [actions.allows(a) for a in ("http.request", "slack.post_message", "slack.delete_all", "log.write")] == [
        True, True, False, False,
    ]  # fmt: skip
    with pytest.raises(ConnectorNotAllowed, match=r"POLICY\.connector_denylist has 'slack\.delete\*'") as denied:
        actions.check("slack.delete_all")
    assert denied.value.context == {"action": "slack.delete_all", "setting": "POLICY.connector_denylist"}
    with pytest.raises(ConnectorNotAllowed, match=r"'log\.\*', to POLICY\.connector_allowlist"):
        actions.check("log.write")


def test_a_tenant_narrows_what_the_installation_allows() -> None:
    installation = policy(
        connector_allowlist=["http", "slack"],
        egress_allow=["10.0.0.0/8", "intranet.example:80"],
        egress_deny=["evil.example"],
        tenants={
            "acme": {
                "connector_allowlist": ["http", "log"], "egress_allow": ["10.1.0.0/16"],
                "egress_deny": ["*.bad.example"], "egress_only": ["*.example", "10.0.0.0/8"],
            },
            "*": {"connector_denylist": ["slack"]},
        },
    )  # fmt: skip
    acme, other, nobody = (effective_policy(installation, tenant) for tenant in ("acme", "globex", ""))
    assert (acme.entry, other.entry, nobody.entry) == ("acme", "*", None)
    verdicts = {
        action: [one.actions.allows(action) for one in (acme, other, nobody)]
        for action in ("http.request", "slack.post_message", "log.write")
    }
    assert verdicts == {
        "http.request": [True, True, True],
        "slack.post_message": [False, False, True],
        "log.write": [False, False, False],
    }
    with pytest.raises(ConnectorNotAllowed, match=r"POLICY\.tenants\.acme\.connector_allowlist"):
        acme.actions.check("slack.post_message")
    with pytest.raises(ConnectorNotAllowed, match=r"to POLICY\.connector_allowlist"):
        acme.actions.check("log.write")
    acme.egress.check(parse_url("http://10.1.2.3/"), ["10.1.2.3"])
    for url, address, setting in [
        ("http://10.2.0.1/", "10.2.0.1", r"POLICY\.tenants\.acme\.egress_allow"),
        ("http://intranet.example/", "192.168.0.1", r"POLICY\.tenants\.acme\.egress_allow"),
        ("http://a.bad.example/", "1.1.1.1", r"POLICY\.tenants\.acme\.egress_deny"),
        ("http://a.org/", "1.1.1.1", r"POLICY\.tenants\.acme\.egress_only"),
        ("http://evil.example/", "1.1.1.1", r"POLICY\.egress_deny"),
        ("http://10.1.0.1:25/", "192.168.0.1", r"POLICY\.egress_allow"),
    ]:
        with pytest.raises(SSRFBlocked, match=setting):
            acme.egress.check(parse_url(url), [address])
    other.egress.check(parse_url("http://10.2.0.1/"), ["10.2.0.1"])  # without lists of its own: the installation's


def test_a_tenant_can_be_given_nothing_that_only_an_installation_has() -> None:
    for name in ("allow_ssrf", "llm_budget_daily", "tenants", "egress_max_bytes"):
        with pytest.raises(ConfigurationError, match=rf"POLICY\.tenants\.acme\.{name}: unknown setting"):
            policy(tenants={"acme": {name: 1}})
    with pytest.raises(ConfigurationError, match=r"egres_deny: unknown setting\. Did you mean 'egress_deny'"):
        policy(tenants={"acme": {"egres_deny": []}})


# -- properties -------------------------------------------------------------------------------------------------------

ACTIONS = ("http.request", "slack.post_message", "slack.delete", "log.write")
URLS = ("http://a.example/", "https://b.a.example/", "http://c.org:8080/", "http://10.1.2.3/", "http://1.1.1.1:25/")
ADDRESSES = ("1.1.1.1", "10.1.2.3", "10.2.0.1", "127.0.0.1", "169.254.169.254", "::1", "64:ff9b::a01:203")
patterns = st.lists(st.sampled_from(["*", "http", "slack", "slack.*", "*.write", "slack.delete", "none"]), max_size=3)
hosts = st.lists(
    st.sampled_from(["*", "a.example", "*.a.example", "c.org:8080", "10.0.0.0/8", "1.1.1.1", "10.1.2.3:80", "::/0"]),
    max_size=3,
)
exceptions = st.lists(
    st.sampled_from(["a.example:80", "10.0.0.0/8", "10.1.0.0/16", "127.0.0.1:80", "1.1.1.1:25", "169.254.169.254:80"]),
    max_size=3,
)
lists = {"connector_denylist": patterns, "egress_deny": hosts, "egress_only": hosts}
entries = st.fixed_dictionaries({}, optional={"connector_allowlist": patterns, "egress_allow": exceptions, **lists})
installations = st.fixed_dictionaries(
    {}, optional={"allow_ssrf": st.booleans(), "connector_allowlist": patterns, "egress_allow": exceptions, **lists}
)


def may_call(settings_: PolicySettings, tenant: str, url: str, address: str) -> bool:
    try:
        effective_policy(settings_, tenant).egress.check(parse_url(url), [address])
    except SSRFBlocked:
        return False
    return True


@unhurried
@given(installations, entries, st.sampled_from(["acme", "*"]))
def test_no_entry_allows_what_the_installation_does_not(
    values: dict[str, Any], entry: dict[str, Any], name: str
) -> None:
    narrowed = policy(**values, tenants={name: entry})
    for action in ACTIONS:
        alone = effective_policy(narrowed).actions.allows(action)
        assert alone or not effective_policy(narrowed, "acme").actions.allows(action)
    for url in URLS:
        for address in ADDRESSES:
            assert may_call(narrowed, "", url, address) or not may_call(narrowed, "acme", url, address)


@unhurried
@given(installations, st.sampled_from(["acme", "*"]))
def test_an_empty_entry_changes_nothing(values: dict[str, Any], name: str) -> None:
    narrowed = policy(**values, tenants={name: {}})
    for action in ACTIONS:
        assert len({effective_policy(narrowed, tenant).actions.allows(action) for tenant in ("", "acme")}) == 1
    for url in URLS:
        for address in ADDRESSES:
            assert may_call(narrowed, "", url, address) == may_call(narrowed, "acme", url, address)


@unhurried
@given(installations, hosts.filter(bool), patterns.filter(bool))
def test_one_more_denial_never_allows_more(values: dict[str, Any], denied: list[str], unwanted: list[str]) -> None:
    before = policy(**values)
    after = policy(
        **{
            **values,
            "egress_deny": [*values.get("egress_deny", []), *denied],
            "connector_denylist": [*values.get("connector_denylist", []), *unwanted],
        }
    )
    for action in ACTIONS:
        assert effective_policy(before).actions.allows(action) or not effective_policy(after).actions.allows(action)
    for url in URLS:
        for address in ADDRESSES:
            assert may_call(before, "", url, address) or not may_call(after, "", url, address)


# -- the settings in force --------------------------------------------------------------------------------------------


def test_the_policy_in_force_follows_the_settings_and_is_kept_by_entry() -> None:
    try:
        settings.configure(parse({"POLICY": {"tenants": {"acme": {"connector_denylist": ["slack"]}}}}))
        assert not current_policy("acme").actions.allows("slack.post_message")
        assert current_policy("globex").actions.allows("slack.post_message")
        assert current_policy("globex") is current_policy("initech") is current_policy()
        settings.configure(parse({"POLICY": {"egress_max_bytes": 10}}))
        assert current_policy("acme").actions.allows("slack.post_message")
        assert current_policy("acme").max_bytes == 10
    finally:
        settings.configure(None)
