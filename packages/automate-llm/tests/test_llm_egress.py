"""Calls of providers under the egress policy, through the real SDKs: whom they call, where, and for which tenant.

Names resolve to what a test says. Nothing but loopback is connected to: for other addresses sockets are stubs.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import httpcore2
import pytest
from automate_core import settings
from automate_core.connectors import ActionContext
from automate_core.errors import ConfigurationError, LLMError, ProviderUnavailable, SSRFBlocked
from automate_core.llm import ChatResult
from automate_core.registry import registry
from automate_core.settings import ProviderSettings
from automate_llm import achat, chat
from automate_llm.budget import MemoryLedger, site_today
from automate_llm.gateway import MeteredProvider
from automate_llm.providers import _http
from automate_llm.providers._sdk import SDKProvider
from automate_llm.providers.anthropic import AnthropicProvider
from automate_llm.providers.openai import OpenAIProvider
from llm_server import Answer, LoopbackLLM, openai_completion

HELLO = [{"role": "user", "content": "Hello!"}]
KINDS: dict[str, type[SDKProvider]] = {"openai": OpenAIProvider, "anthropic": AnthropicProvider}
HOSTS = {"openai": "api.openai.com", "anthropic": "api.anthropic.com"}
BOTH = pytest.mark.parametrize("name", sorted(KINDS))
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


class Names(dict[str, Any]):
    """A resolver: what names stand for, and which were asked for. A list of lists is given in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host not in self:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        known = self[host]
        return list(known.pop(0) if known and isinstance(known[0], list) else known)


class Sockets:
    """Stub sockets: which addresses were connected to, and with which server names."""

    def __init__(self) -> None:
        self.connected: list[tuple[str, int]] = []
        self.server_names: list[str | None] = []


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setattr(_http, "resolve_host", made.resolve)
    return made


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Sockets:
    """Connections that are made and end when TLS or HTTP begins."""
    made = Sockets()

    class Stream(httpcore2.NetworkStream):
        def start_tls(
            self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
        ) -> NoReturn:
            made.server_names.append(server_hostname)
            raise httpcore2.ConnectError("the stub ends here")

        def close(self) -> None: ...

    class AsyncStream(httpcore2.AsyncNetworkStream):
        async def start_tls(
            self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
        ) -> NoReturn:
            made.server_names.append(server_hostname)
            raise httpcore2.ConnectError("the stub ends here")

        async def aclose(self) -> None: ...

    def connect(self: Any, host: str, port: int, *rest: Any) -> httpcore2.NetworkStream:
        made.connected.append((host, port))
        return Stream()

    async def aconnect(self: Any, host: str, port: int, *rest: Any) -> httpcore2.AsyncNetworkStream:
        made.connected.append((host, port))
        return AsyncStream()

    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", connect)
    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", aconnect)
    return made


Make = Callable[..., SDKProvider]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make providers, which are closed at the end."""
    made: list[SDKProvider] = []

    def new(name: str, url: str = "") -> SDKProvider:
        made.append(KINDS[name](ProviderSettings(base_url=url)))
        return made[-1]

    yield new
    for one in made:
        one.close()


def configure(**policy: Any) -> None:
    settings.configure(settings.parse({"POLICY": policy}))


def call(provider: SDKProvider | MeteredProvider, way: str, tenant: str = "", **options: Any) -> ChatResult:
    request = provider.request(HELLO, tenant=tenant, **options)
    return provider.complete(request) if way == "sync" else asyncio.run(provider.acomplete(request))


def refused(provider: SDKProvider | MeteredProvider, way: str, tenant: str = "") -> SSRFBlocked:
    with pytest.raises(SSRFBlocked) as caught:
        call(provider, way, tenant)
    return caught.value


def named(server: LoopbackLLM, host: str) -> str:
    return f"{server.address.replace('127.0.0.1', host)}/v1"


# -- addresses --------------------------------------------------------------------------------------------------------


@BOTH
@WAYS
def test_a_named_server_of_the_site_is_called_at_what_was_judged(
    name: str, way: str, names: Names, loopback: LoopbackLLM, make: Make
) -> None:
    names["llm.internal"] = [["127.0.0.1"], ["169.254.169.254"]]
    assert call(make(name, named(loopback, "llm.internal")), way).text == "Hello!"
    assert names.asked == ["llm.internal"], "a name is resolved once, and what was judged is called"
    assert loopback.requests[0]["headers"]["host"] == f"llm.internal:{loopback.port}"


@BOTH
@WAYS
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("169.254.169.254", "cloud metadata"), ("fd00:ec2::254", "cloud metadata"), ("169.254.7.7", "link-local"),
        ("fe80::1", "link-local"), ("0.0.0.0", "this network"), ("224.0.0.1", "multicast"),
        ("::ffff:169.254.169.254", "cloud metadata"), ("64:ff9b::a9fe:a9fe", "cloud metadata"),
    ],
)  # fmt: skip
def test_a_named_server_is_not_called_at_any_other_special_address(
    name: str, way: str, address: str, reason: str, names: Names, sockets: Sockets, make: Make
) -> None:
    for answers in ([address], ["10.0.0.5", address], [address, "93.184.216.34"]):
        names["llm.internal"] = answers
        error = refused(make(name, "http://llm.internal:8000/v1"), way)
        assert error.context == {
            "host": "llm.internal", "port": 8000, "address": address, "reason": reason,
            "setting": "POLICY.egress_allow",
        }  # fmt: skip
    assert sockets.connected == []


@BOTH
@WAYS
@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.5", "::1", "::ffff:192.168.1.1", "169.254.169.254"])
def test_the_vendors_host_is_not_called_inside_unless_a_setting_says_so(
    name: str, way: str, address: str, names: Names, sockets: Sockets, make: Make
) -> None:
    names[HOSTS[name]] = ["93.184.216.34", address]
    error = refused(make(name), way)
    assert error.context["address"] == address
    assert "POLICY.egress_allow" in error.message
    assert (sockets.connected, sockets.server_names) == ([], [])


@BOTH
@WAYS
def test_the_vendors_host_is_called_at_a_judged_address_with_its_own_name_for_tls(
    name: str, way: str, names: Names, sockets: Sockets, make: Make
) -> None:
    names[HOSTS[name]] = [["93.184.216.34"], ["10.0.0.1"]]
    with pytest.raises(ProviderUnavailable, match="cannot be reached") as caught:
        call(make(name), way)
    assert caught.value.context["billed"] is False
    assert (sockets.connected, sockets.server_names) == ([("93.184.216.34", 443)], [HOSTS[name]])


@WAYS
def test_an_exception_of_the_policy_opens_the_vendors_host(
    way: str, names: Names, sockets: Sockets, make: Make
) -> None:
    names["api.openai.com"] = ["10.0.0.5"]  # a private link of a cloud
    configure(egress_allow=["api.openai.com:443"])
    with pytest.raises(ProviderUnavailable):
        call(make("openai"), way)
    assert sockets.connected == [("10.0.0.5", 443)]


@WAYS
def test_the_next_address_is_tried(way: str, names: Names, loopback: LoopbackLLM, make: Make) -> None:
    names["llm.internal"] = ["127.0.0.2", "127.0.0.1"]
    assert call(make("openai", named(loopback, "llm.internal")), way).text == "Hello!"


@BOTH
@WAYS
def test_what_does_not_resolve_was_not_reached(name: str, way: str, names: Names, make: Make) -> None:
    with pytest.raises(ProviderUnavailable, match=r"llm\.internal cannot be resolved") as caught:
        call(make(name, "http://llm.internal:8000/v1"), way)
    assert caught.value.retryable
    assert caught.value.context["billed"] is False


@WAYS
def test_a_name_server_that_does_not_answer_is_not_waited_for(
    way: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        release.wait(30)
        return ["127.0.0.1"]

    monkeypatch.setattr(_http, "resolve_host", hang)
    begun = time.monotonic()
    try:
        with pytest.raises(ProviderUnavailable, match="in time"):
            call(make("openai", "http://llm.internal:8000/v1"), way, timeout=0.2)
        assert time.monotonic() - begun < 20
    finally:
        release.set()


# -- the lists --------------------------------------------------------------------------------------------------------


@BOTH
@WAYS
@pytest.mark.parametrize(
    ("policy", "setting"),
    [
        ({"egress_deny": ["127.0.0.0/8"]}, "POLICY.egress_deny"),
        ({"egress_deny": ["127.0.0.1"], "allow_ssrf": True}, "POLICY.egress_deny"),
        ({"egress_only": ["api.openai.com", "api.anthropic.com"]}, "POLICY.egress_only"),
        ({"tenants": {"*": {"egress_deny": ["127.0.0.1"]}}}, "POLICY.tenants.*.egress_deny"),
        ({"tenants": {"acme": {"egress_only": ["*.example"]}}}, "POLICY.tenants.acme.egress_only"),
        ({"tenants": {"acme": {"egress_allow": []}}}, "POLICY.tenants.acme.egress_allow"),
    ],
)
def test_the_lists_hold_for_a_named_server_too(
    name: str, way: str, policy: dict[str, Any], setting: str, loopback: LoopbackLLM, make: Make
) -> None:
    configure(**policy)
    error = refused(make(name, f"{loopback.address}/v1"), way, "acme")
    assert (error.context["host"], error.context["setting"]) == ("127.0.0.1", setting)
    assert setting in error.message
    assert loopback.requests == []


@WAYS
def test_a_name_that_is_denied_is_not_even_looked_up(way: str, names: Names, make: Make) -> None:
    configure(egress_deny=["*.openai.com"])
    refused(make("openai"), way)
    assert names.asked == []


@BOTH
@WAYS
def test_each_call_is_under_the_policy_of_its_tenant(name: str, way: str, loopback: LoopbackLLM, make: Make) -> None:
    configure(tenants={"acme": {"egress_deny": ["127.0.0.1"]}})
    provider = make(name, f"{loopback.address}/v1")
    for _ in range(2):
        assert call(provider, way, "globex").text == call(provider, way).text == "Hello!"
        refused(provider, way, "acme")
    assert len(loopback.requests) == 4


@BOTH
@WAYS
def test_a_change_of_the_policy_holds_for_the_next_call(name: str, way: str, loopback: LoopbackLLM, make: Make) -> None:
    provider = make(name, f"{loopback.address}/v1")
    call(provider, way)
    call(provider, way)
    first, second = (request["peer"] for request in loopback.requests)
    assert (first == second) is (way == "sync"), "the point is a connection that is open"
    configure(egress_deny=["127.0.0.1"])
    refused(provider, way)
    assert len(loopback.requests) == 2
    settings.configure(None)
    assert call(provider, way).text == "Hello!"


def test_a_change_of_the_policy_breaks_no_call_under_way(loopback: LoopbackLLM, make: Make) -> None:
    loopback.answers.append(Answer(200, openai_completion("Late.", "m"), delay=1.0))
    provider = make("openai", f"{loopback.address}/v1")
    texts: list[str] = []
    thread = threading.Thread(target=lambda: texts.append(call(provider, "sync").text))
    thread.start()
    while not loopback.requests:
        time.sleep(0.01)
    configure(egress_deny=["127.0.0.1"])
    refused(provider, "sync")
    thread.join()
    assert texts == ["Late."]


# -- whoever calls ----------------------------------------------------------------------------------------------------


@WAYS
def test_a_refused_call_costs_nothing(way: str, loopback: LoopbackLLM, make: Make) -> None:
    configure(egress_deny=["127.0.0.1"])
    ledger = MemoryLedger()
    refused(MeteredProvider(make("openai", f"{loopback.address}/v1"), ledger), way)
    balance = ledger.balance(site_today())
    assert (balance.reserved, balance.spent) == (0, 0)


def test_the_step_of_a_tenant_is_refused_as_a_call_by_http_is(loopback: LoopbackLLM) -> None:
    policy = {"tenants": {"acme": {"egress_deny": ["127.0.0.1"]}}}
    settings.configure(settings.parse(loopback.settings() | {"POLICY": policy}))
    connector, _ = registry.get_action("llm.chat")
    for tenant, allowed in (("globex", True), ("acme", False)):
        step = connector(ctx=ActionContext(tenant=tenant))
        if allowed:
            assert step.call("chat", {"prompt": "Hello!"})["text"] == "Hello!"
            continue
        with pytest.raises(SSRFBlocked) as caught:
            step.call("chat", {"prompt": "Hello!"})
        assert not caught.value.retryable
        assert caught.value.context["setting"] == "POLICY.tenants.acme.egress_deny"


def test_code_names_the_tenant(loopback: LoopbackLLM) -> None:
    policy = {"tenants": {"acme": {"egress_deny": ["127.0.0.1"]}}}
    settings.configure(settings.parse(loopback.settings() | {"POLICY": policy}))
    assert chat(HELLO) == asyncio.run(achat(HELLO, tenant="globex")) == "Hello!"
    with pytest.raises(SSRFBlocked):
        chat(HELLO, tenant="acme")
    with pytest.raises(SSRFBlocked):
        asyncio.run(achat(HELLO, tenant="acme"))


# -- where the address comes from -------------------------------------------------------------------------------------


@BOTH
@WAYS
def test_the_vendors_variable_names_a_server_too(
    name: str, way: str, loopback: LoopbackLLM, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"{name.upper()}_BASE_URL"
    monkeypatch.setenv(variable, f"{loopback.address}/v1")
    assert call(make(name), way).text == "Hello!"
    monkeypatch.setenv(variable, "http://10.0.0.5:9/v1")
    assert call(make(name, f"{loopback.address}/v1"), way).text == "Hello!", "the settings come first"
    monkeypatch.setenv(variable, "localhost:11434")
    with pytest.raises(ConfigurationError, match=variable):
        call(make(name), way)


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://llm.internal/", "http://user:hush@llm.internal/v1", "/v1"])
def test_settings_take_a_whole_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"LLM\.providers\.openai\.base_url") as caught:
        settings.parse({"LLM": {"providers": {"openai": {"base_url": url}}}})
    assert "hush" not in str(caught.value)


def test_the_refusal_is_no_error_of_the_vendor(loopback: LoopbackLLM, make: Make) -> None:
    configure(egress_deny=["127.0.0.1"])
    error = refused(make("openai", f"{loopback.address}/v1"), "sync")
    assert not isinstance(error, LLMError)
    assert "test-openai-key" not in f"{error!r} {error.context} {error.__cause__!r}"
