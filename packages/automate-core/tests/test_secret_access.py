"""Who may use which secret: the table of the reference page, row by row, and what is recorded."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from automate_core import redaction
from automate_core.errors import (
    ConfigurationError,
    SecretAccessDenied,
    SecretBackendUnavailable,
    SecretError,
    SecretNotFoundError,
)
from automate_core.redaction import REDACTED, redact_text
from automate_core.secrets import AccessRecord, Resolver, SecretAccess, SecretBackend, SecretValue
from automate_core.settings import SecretSettings, configure, parse
from automate_core.testing.secrets import MemoryBackend
from hypothesis import given, settings
from hypothesis import strategies as st

BILLING = {"refs": ["$vault:kv/billing/*"], "workflows": ["billing-*"], "connectors": ["http", "stripe.charge"]}
ACME = {"refs": ["$secret:ACME_*"], "tenants": ["acme"]}
OWN = {"refs": ["$secret:ROOT"], "tenants": [""]}
NOBODY = {"refs": ["$secret:MASTER"], "workflows": []}
FIELD = {"refs": ["$vault:kv/shop#user"]}
PINNED = {"refs": ["$secret:PINNED@3"]}
MORE = {"refs": ["$vault:kv/billing/public"], "workflows": ["newsletter"]}
ANY = {"refs": ["*"], "workflows": ["trusted"]}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    yield
    redaction._live.clear()


def access(workflow: str = "w", action: str = "http.request", tenant: str = "") -> SecretAccess:
    return SecretAccess(workflow, action.partition(".")[0], action, tenant, "run-1", "step-1")


def resolver(instance: SecretBackend | None = None, /, **options: Any) -> Resolver:
    config = SecretSettings.model_validate(options)
    instance = instance or MemoryBackend(config)
    return Resolver(config=config, backends=dict.fromkeys(["secret", "env", "vault", "aws"], instance))


TABLE: list[tuple[list[dict[str, Any]], str, dict[str, str], bool]] = [
    # What no rule is about follows SECRETS.allow alone.
    ([], "$secret:A", {}, True),
    ([BILLING, ACME], "$secret:A", {}, True),
    # Workflow and connector must both be allowed, by one rule.
    ([BILLING], "$vault:kv/billing/key", {"workflow": "billing-run"}, True),
    ([BILLING], "$vault:kv/billing/key", {"workflow": "billing-run", "action": "stripe.charge"}, True),
    ([BILLING], "$vault:kv/billing/key", {"workflow": "billing-run", "action": "stripe.refund"}, False),
    ([BILLING], "$vault:kv/billing/key", {"workflow": "billing-run", "action": "httpx.request"}, False),
    ([BILLING], "$vault:kv/billing/key", {"workflow": "Billing-run"}, False),
    ([BILLING], "$vault:kv/billing/key", {"workflow": "other"}, False),
    ([BILLING], "$vault:kv/billing/a/b", {"workflow": "other"}, False),
    ([BILLING], "$vault:kv/billing", {"workflow": "other"}, True),
    # Several rules add up.
    ([BILLING, MORE], "$vault:kv/billing/public", {"workflow": "newsletter", "action": "log.write"}, True),
    ([BILLING, MORE], "$vault:kv/billing/public", {"workflow": "billing-run"}, True),
    ([BILLING, MORE], "$vault:kv/billing/key", {"workflow": "newsletter"}, False),
    # Tenants.
    ([ACME], "$secret:ACME_KEY", {"tenant": "acme"}, True),
    ([ACME], "$secret:ACME_KEY", {"tenant": "acme2"}, False),
    ([ACME], "$secret:ACME_KEY", {}, False),
    ([OWN], "$secret:ROOT", {}, True),
    ([OWN], "$secret:ROOT", {"tenant": "acme"}, False),
    # A rule that allows nobody closes.
    ([NOBODY], "$secret:MASTER", {}, False),
    # A field or a version in a rule restricts the whole secret, and permits itself alone.
    ([FIELD], "$vault:kv/shop#user", {}, True),
    ([FIELD], "$vault:kv/shop#user@2", {}, True),
    ([FIELD], "$vault:kv/shop#password", {}, False),
    ([FIELD], "$vault:kv/shop", {}, False),
    ([FIELD], "$vault:kv/shop2", {}, True),
    ([PINNED], "$secret:PINNED@3", {}, True),
    ([PINNED], "$secret:PINNED@2", {}, False),
    ([PINNED], "$secret:PINNED", {}, False),
    ([{"refs": ["$vault:*password"], "workflows": []}], "$vault:kv/shop#password", {}, False),
    # A rule about everything closes whatever it does not permit.
    ([ANY], "$env:HOME", {}, False),
    ([ANY], "$env:HOME", {"workflow": "trusted"}, True),
    ([{"refs": ["$*"], "connectors": []}], "$aws:prod/key", {}, False),
    # The same secret by its other name: $secret: is what SECRETS.backend says, here env with the prefix AUTOMATE_.
    ([ACME], "$env:AUTOMATE_ACME_KEY", {}, False),
    ([ACME], "$env:AUTOMATE_ACME_KEY", {"tenant": "acme"}, True),
    ([ACME], "$env:ACME_KEY", {}, True),
    ([{"refs": ["$env:AUTOMATE_ROOT"], "workflows": ["a"]}], "$secret:ROOT", {}, False),
    ([{"refs": ["$env:AUTOMATE_ROOT"], "workflows": ["a"]}], "$secret:ROOT", {"workflow": "a"}, True),
]


@pytest.mark.parametrize(("rules", "ref", "step", "allowed"), TABLE)
def test_the_table(rules: list[dict[str, Any]], ref: str, step: dict[str, str], allowed: bool) -> None:
    found = resolver(access=rules)
    if allowed:
        assert str(found.ensure_permitted(ref, access(**step))) == ref
        return
    for ask in (found.ensure_permitted, found.secret):
        with pytest.raises(SecretAccessDenied) as denied:
            ask(ref, access(**step))
        for named in (ref, access(**step).workflow, access(**step).action, "SECRETS.access", step.get("tenant", "")):
            assert named in denied.value.message
        assert denied.value.context["reference"] == ref
        assert not denied.value.retryable
    assert str(found.ensure_permitted(ref)) == ref  # the application itself is asked for nothing but SECRETS.allow


class Prefixed(MemoryBackend):
    """A backend of somebody's own that reads what ``$vault:`` names too."""

    key = "vault"

    def locate(self, path: str) -> str:
        return f"own/{path}"


@pytest.mark.parametrize(
    ("options", "other"),
    [
        ({"backend": "vault"}, "$vault:secret/billing#b"),
        ({"backend": "vault", "vault": {"prefix": "kv/automate/"}}, "$vault:kv/automate/billing#b"),
        ({"backend": "aws"}, "$aws:billing#b"),
        ({"backend": "aws", "aws": {"prefix": "prod/"}}, "$aws:prod/billing#b"),
        ({"backend": "env"}, "$env:AUTOMATE_billing"),
        ({"backend": "tests.Prefixed"}, "$vault:own/billing#b"),
    ],
)
def test_a_rule_about_one_name_holds_for_the_other(options: dict[str, Any], other: str) -> None:
    own = "$secret:billing" + "#b" * ("#" in other)
    for closed, asked in ((f"{own[:-1]}*", other), (f"{other[:-1]}*", own)):
        rules = [{"refs": [closed], "workflows": ["a"]}]
        found = resolver(Prefixed(SecretSettings()), access=rules, **options)
        with pytest.raises(SecretAccessDenied):
            found.ensure_permitted(asked, access())
        found.ensure_permitted(asked, access("a"))
    rules = [{"refs": ["$secret:billing*"], "workflows": ["a"]}]
    resolver(access=rules, backend="db").ensure_permitted(other, access())


SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
PARAMETER = "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/"


@pytest.mark.parametrize(
    ("closed", "asked", "opened"),
    [
        ("$aws:prod/billing", f"$aws:{SECRET}prod/billing-AbCdEf", True),
        ("$aws:prod/billing", f"$aws:{SECRET}prod/billing", True),  # AWS takes an ARN without its end too
        ("$aws:prod/billing#key", f"$aws:{SECRET}prod/billing-AbCdEf#key", True),
        ("$aws:prod/billing#key", f"$aws:{SECRET}prod/billing-AbCdEf#other", False),
        ("$aws:ssm/prod/*", f"$aws:{PARAMETER}prod/db", True),
        ("$secret:billing", f"$aws:{SECRET}prod/billing-AbCdEf", True),
        ("$secret:billing", "$aws:prod/billing", True),
        # What a rule about an ARN opens is what it names, and that may be of another account.
        (f"$aws:{SECRET}prod/billing-AbCdEf", "$aws:prod/billing", False),
        (f"$aws:{SECRET}prod/billing-??????", "$aws:prod/billing#key", False),
        ("$aws:arn:*:secretsmanager:*:secret:prod/*", "$secret:billing", False),
        (f"$aws:{PARAMETER}prod/*", "$aws:ssm/prod/db", False),
    ],
)
def test_a_rule_about_a_name_in_aws_holds_for_its_arn(closed: str, asked: str, opened: bool) -> None:
    rules = [{"refs": [closed], "workflows": ["a"]}]
    found = resolver(access=rules, backend="aws", aws={"prefix": "prod/"})
    with pytest.raises(SecretAccessDenied):
        found.ensure_permitted(asked, access())
    if opened:
        found.ensure_permitted(asked, access("a"))
    found.ensure_permitted("$aws:elsewhere", access())


def test_an_arn_that_may_name_two_secrets_is_open_where_both_are() -> None:
    rules = [{"refs": ["$aws:key"], "workflows": ["a"]}, {"refs": ["$aws:key-abcdef"], "workflows": ["b"]}]
    for workflow in ("a", "b"):
        with pytest.raises(SecretAccessDenied):
            resolver(access=rules).ensure_permitted(f"$aws:{SECRET}key-abcdef", access(workflow))


def test_allow_goes_first_and_no_rule_opens_what_it_closes() -> None:
    found = resolver(allow=["$env:*"], access=[{"refs": ["$secret:*"]}])
    with pytest.raises(SecretAccessDenied, match=r"SECRETS\.allow"):
        found.secret("$secret:A", access())


OWN_KEYS = {
    "SECRETS": {
        "keys": {"k1": "$env:KEK"},
        "access": [{"refs": ["$env:*"]}],
        "vault": {"address": "https://vault.example.com", "token": "$env:TOKEN"},
    },
    "AUDIT": {"keys": {"a1": "$env:CHAIN"}},
    "LLM": {"providers": {"openai": {"api_key": "$secret:OPENAI"}}},
}


@pytest.fixture
def own_keys() -> Iterator[Resolver]:
    configure(parse(OWN_KEYS))
    backend = MemoryBackend(SecretSettings())
    for name in ("KEK", "OPENAI"):
        backend.put(name, f"the key {name}")
    yield Resolver(backends=dict.fromkeys(["secret", "env"], backend), own_references=lambda: ["$env:DJANGO"])
    configure(None)


@pytest.mark.parametrize(
    "name", ["KEK", "TOKEN", "CHAIN", "AUTOMATE_OPENAI", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DJANGO"]
)
def test_no_step_is_given_a_key_of_the_installation(own_keys: Resolver, name: str) -> None:
    records: list[AccessRecord] = []
    own_keys.on_access = records.append
    with pytest.raises(SecretAccessDenied, match="of the installation itself: no step is given it") as denied:
        own_keys.secret(f"$env:{name}", access())
    assert [record.denial for record in records] == [denied.value]


def test_whoever_reads_the_keys_of_the_installation_still_does(own_keys: Resolver) -> None:
    assert (own_keys.resolve("$env:KEK"), own_keys.resolve("$secret:OPENAI")) == ("the key KEK", "the key OPENAI")
    assert str(own_keys.ensure_permitted("$env:OTHER", access())) == "$env:OTHER"


patterns = st.text("*?ab-", max_size=4)


@settings(deadline=None)
@given(st.lists(patterns), st.lists(patterns), st.text("ab-", max_size=4), st.sampled_from(["a.b", "b.a", "ab.b"]))
def test_another_rule_never_takes_away(one: list[str], more: list[str], workflow: str, action: str) -> None:
    def allows(rules: list[dict[str, Any]]) -> bool:
        try:
            resolver(access=rules).ensure_permitted("$secret:A", access(workflow, action))
        except SecretAccessDenied:
            return False
        return True

    first = {"refs": ["$secret:A"], "workflows": one}
    second = {"refs": ["$secret:*"], "connectors": more}
    assert allows([first, second]) == allows([second, first]) == (allows([first]) or allows([second]))
    assert not allows([{"refs": ["$secret:A"], "workflows": []}, {"refs": ["$secret:A"], "connectors": []}])


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({}, "SECRETS.access.0.refs: Field required"),
        ({"refs": []}, "SECRETS.access.0.refs: Tuple should have at least 1 item"),
        ({"refs": ["vault:kv/a"]}, "SECRETS.access.0.refs: a reference begins with its kind"),
        ({"refs": ["$valt:kv/a"]}, "SECRETS.access.0.refs: a reference begins with its kind"),
        ({"refs": ["$secret:A"], "workflow": ["a"]}, "SECRETS.access.0.workflow: unknown setting. Did you mean 'work"),
        ({"refs": ["$secret:A"], "tenants": "acme"}, "SECRETS.access.0.tenants: Input should be a valid tuple"),
    ],
)
def test_a_rule_that_would_leave_open_what_it_names_is_an_error(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse({"SECRETS": {"access": [rule]}})
    assert says in refused.value.message


# -- tenants ----------------------------------------------------------------------------------------------------------


def filled(**options: Any) -> tuple[Resolver, list[AccessRecord]]:
    backend = MemoryBackend(SecretSettings())
    backend.put("KEY", "the installation's own key")
    backend.put("OTHER", "another of the installation")
    backend.put("KEY", "the key of acme", tenant="acme")
    found = resolver(backend, **options)
    records: list[AccessRecord] = []
    found.on_access = records.append
    return found, records


@pytest.mark.parametrize(
    ("tenant", "ref", "shared", "value", "owner"),
    [
        ("", "$secret:KEY", (), "the installation's own key", ""),
        ("acme", "$secret:KEY", ("*",), "the key of acme", "acme"),
        ("acme", "$secret:OTHER", ("$secret:OTH*",), "another of the installation", ""),
        ("globex", "$secret:KEY", ("$secret:KEY",), "the installation's own key", ""),
    ],
)
def test_a_tenant_reads_its_own_and_what_is_shared(
    tenant: str, ref: str, shared: tuple[str, ...], value: str, owner: str
) -> None:
    found, records = filled(shared=shared)
    asked = access(tenant=tenant)
    assert found.secret(ref, asked) == SecretValue(value)
    assert [(str(record.ref), record.access, record.owner, record.denial) for record in records] == [
        (ref, asked, owner, None)
    ]


@pytest.mark.parametrize(("tenant", "shared"), [("globex", ()), ("globex", ("$secret:OTHER",)), ("acm", ())])
def test_what_is_not_shared_is_not_read_for_a_tenant(tenant: str, shared: tuple[str, ...]) -> None:
    found, records = filled(shared=shared)
    with pytest.raises(SecretNotFoundError, match=r"^\$secret:KEY: .*SECRETS\.shared does not list") as refused:
        found.secret("$secret:KEY", access(tenant=tenant))
    assert [record.denial for record in records] == [refused.value]


def test_a_version_that_a_tenant_lacks_is_not_that_of_somebody_elses_secret() -> None:
    found, records = filled(shared=("*",))
    backend: Any = found._given["secret"]
    backend.put("KEY", "the installation's second key")
    backend.put("OTHER", "the installation's second")
    with pytest.raises(SecretNotFoundError, match="the tenant 'acme' has other versions of it") as refused:
        found.secret("$secret:KEY@2", access(tenant="acme"))
    assert [record.denial for record in records] == [refused.value]
    assert found.secret("$secret:OTHER@2", access(tenant="acme")).reveal() == "the installation's second"


def test_a_secret_that_cannot_be_hidden_in_time_is_refused() -> None:
    backend = MemoryBackend(SecretSettings())
    backend.put("LARGE", "x" * 65_537)
    with pytest.raises(SecretError, match=r"^\$secret:LARGE: The secret has 65,537 characters, and more than 65,536"):
        resolver(backend).secret("$secret:LARGE", access())


def test_a_backend_without_tenants_serves_all() -> None:
    class Plain(MemoryBackend):
        supports_tenants = False

    backend = Plain(SecretSettings())
    backend.put("KEY", "the installation's own key")
    found = resolver(backend)
    assert found.secret("$secret:KEY", access(tenant="acme")).reveal() == "the installation's own key"


def test_an_outage_is_no_reason_to_read_somebody_elses() -> None:
    class Down(MemoryBackend):
        def get(self, path: str, *, tenant: str | None = None, **options: Any) -> str:
            if tenant:
                raise SecretBackendUnavailable("sealed")
            return super().get(path, **options)

    backend = Down(SecretSettings())
    backend.put("KEY", "the installation's own key")
    with pytest.raises(SecretBackendUnavailable, match="sealed"):
        resolver(backend, shared=["*"]).secret("$secret:KEY", access(tenant="acme"))


# -- the record -------------------------------------------------------------------------------------------------------


def test_a_denial_is_recorded_and_the_backend_is_not_asked() -> None:
    class Unasked(MemoryBackend):
        def get(self, path: str, **options: Any) -> str:
            raise AssertionError("it was asked")

    found = resolver(Unasked(SecretSettings()), access=[NOBODY])
    records: list[AccessRecord] = []
    found.on_access = records.append
    with pytest.raises(SecretAccessDenied) as denied:
        found.secret("$secret:MASTER", access())
    (record,) = records
    assert record == AccessRecord(record.ref, access(), denial=denied.value)
    assert str(record.ref) == "$secret:MASTER"


def test_what_the_backend_denies_is_recorded() -> None:
    class Forbidding(MemoryBackend):
        def get(self, path: str, **options: Any) -> str:
            raise SecretAccessDenied("Vault denies it (403).")

    found = resolver(Forbidding(SecretSettings()))
    records: list[AccessRecord] = []
    found.on_access = records.append
    with pytest.raises(SecretAccessDenied, match="403") as denied:
        found.secret("$vault:kv/a", access())
    assert [record.denial for record in records] == [denied.value]


@pytest.mark.parametrize("ref", ["$secret:KEY", "$secret:MASTER"])
def test_what_cannot_be_recorded_is_not_handed_out(ref: str) -> None:
    found, _ = filled(access=[NOBODY])

    def fail(record: AccessRecord) -> None:
        raise RuntimeError("no disk")

    found.on_access = fail
    with pytest.raises(SecretBackendUnavailable, match="cannot be recorded") as refused:
        found.secret(ref, access())
    assert refused.value.retryable
    assert refused.value.context == {"reference": ref}
    shown = "".join(traceback.TracebackException.from_exception(refused.value, capture_locals=True).format())
    assert "the installation's own key" not in shown
    assert "no disk" in shown


def test_a_secret_is_hidden_from_the_moment_when_it_is_resolved() -> None:
    found, _ = filled()
    value = found.secret("$secret:KEY", access())
    assert redact_text(f"got {value.reveal()}") == f"got {REDACTED}"


def test_what_is_no_reference_is_refused_without_being_shown() -> None:
    found, records = filled()
    with pytest.raises(SecretError) as refused:
        found.secret("hunter2-in-clear", access())
    assert "hunter2" not in refused.value.message
    assert records == []
