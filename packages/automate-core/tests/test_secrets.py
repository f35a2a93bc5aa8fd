"""Secret references and their resolver."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from automate_core import redaction
from automate_core import settings as settings_module
from automate_core.errors import (
    SecretAccessDenied,
    SecretBackendUnavailable,
    SecretError,
    SecretNotFoundError,
)
from automate_core.hookspecs import hookimpl
from automate_core.redaction import REDACTED, redact, redact_text
from automate_core.registry import Registry
from automate_core.secrets import Resolver, SecretBackend, SecretRef, aresolve, is_reference, resolve
from automate_core.settings import SecretSettings, Settings
from automate_core.specs import Spec
from automate_core.testing.secrets import MemoryBackend, SecretBackendContract
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

unhurried = hypothesis_settings(deadline=None)

GOOD = {
    "$secret:API_KEY": ("secret", "API_KEY", None, None),
    "$secret:billing/stripe-key.v2": ("secret", "billing/stripe-key.v2", None, None),
    "$env:DATABASE_URL": ("env", "DATABASE_URL", None, None),
    "$vault:secret/api": ("vault", "secret/api", None, None),
    "$vault:kv/billing#api_key": ("vault", "kv/billing", "api_key", None),
    "$vault:kv/billing#api_key@3": ("vault", "kv/billing", "api_key", "3"),
    "$secret:API_KEY@12": ("secret", "API_KEY", None, "12"),
    "$aws:arn:aws:secretsmanager:eu-west-1:1:secret:a/b-Xy12#k@AWSPREVIOUS": (
        "aws", "arn:aws:secretsmanager:eu-west-1:1:secret:a/b-Xy12", "k", "AWSPREVIOUS",
    ),
}  # fmt: skip
BAD = [
    "", "API_KEY", "secret:API_KEY", "$secret", "$secret:", "$secret: API_KEY", "$secret:API_KEY ", "$SECRET:API_KEY",
    "$secret:a b", "$secret:API_KEY\n", "$secret:#f", "$secret:a#", "$secret:a@", "$secret:a#f#g", "$secret:a@1@2",
    "$vault:kv/a/../b", "$vault:kv//a", "$vault:kv/./a", "$vault:kv/.", "$vault:kv/a/..#f",
    "$secret:a@1#f", "$valt:a", "$:a", "${secret:a}", "sk-an-actual-secret", "$secret:ä", "$env:" + "x" * 600,
]  # fmt: skip


@pytest.mark.parametrize(("text", "parts"), GOOD.items())
def test_references_that_are_right(text: str, parts: tuple[str, str, str | None, str | None]) -> None:
    ref = SecretRef(text)
    assert (ref.scheme, ref.path, ref.field, ref.version) == parts
    assert is_reference(text)
    assert is_reference(ref)
    assert str(ref) == f"{ref}" == text
    assert repr(ref) == f"SecretRef({text!r})"
    assert redact_text(f"using {text} now") == f"using {text} now"
    assert redact({"password": text, "api_key": ref}) == {"password": text, "api_key": text}


@pytest.mark.parametrize("text", BAD)
def test_an_unknown_form_is_an_error_that_does_not_show_it(text: str) -> None:
    for refuse in (SecretRef, resolve):
        with pytest.raises(SecretError) as raised:
            refuse(text)
        assert len(text) < 9 or text not in str(raised.value).replace("$secret:API_KEY", "")


def test_a_misspelt_scheme_names_the_right_one() -> None:
    with pytest.raises(SecretError, match="Did you mean 'vault'"):
        SecretRef("$valt:kv/billing")


def test_what_begins_like_a_reference_is_never_ordinary_text() -> None:
    assert is_reference("$secret:")
    assert is_reference("$env:not a name")
    assert not any(map(is_reference, ["$", "$5", "$USD:100", "the $secret:A", "secret:A", None, 5, {"$secret": "A"}]))


@unhurried
@given(st.text())
def test_any_text_is_a_reference_or_a_typed_error(text: str) -> None:
    for candidate in (text, f"$secret:{text}"):
        try:
            ref = SecretRef(candidate)
        except SecretError:
            continue
        assert is_reference(candidate)
        rest = "".join(filter(None, [ref.path, ref.field and f"#{ref.field}", ref.version and f"@{ref.version}"]))
        assert f"${ref.scheme}:{rest}" == candidate


def test_it_is_a_value() -> None:
    ref = SecretRef("$secret:API_KEY")
    same = [SecretRef(ref), copy.deepcopy(ref), pickle.loads(pickle.dumps(ref))]
    assert all(other == ref and hash(other) == hash(ref) for other in same)
    assert ref != SecretRef("$env:API_KEY")
    assert ref != "$secret:API_KEY"
    with pytest.raises(AttributeError):
        ref.path = "OTHER"


# -- pydantic ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    yield
    redaction._live.clear()


class Plain(BaseModel):
    api_key: SecretRef = SecretRef("$secret:API_KEY")


class Arbitrary(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    api_key: SecretRef = SecretRef("$secret:API_KEY")


@pytest.mark.parametrize("model", [Plain, Arbitrary])
def test_a_field_of_a_model(model: type[Plain]) -> None:
    for given_ in ("$env:KEY", SecretRef("$env:KEY")):
        instance = model.model_validate({"api_key": given_})
        assert instance.api_key == SecretRef("$env:KEY")
        assert instance.model_dump() == {"api_key": SecretRef("$env:KEY")}
        assert instance.model_dump(mode="json") == {"api_key": "$env:KEY"}
        assert json.loads(instance.model_dump_json()) == {"api_key": "$env:KEY"}
        assert model.model_validate_json(instance.model_dump_json()) == instance
    assert model().api_key == SecretRef("$secret:API_KEY")
    assert model.model_json_schema()["properties"]["api_key"]["type"] == "string"


@pytest.mark.parametrize("model", [Plain, Arbitrary])
def test_a_secret_in_the_place_of_a_reference_is_refused_and_hidden(model: type[Plain]) -> None:
    with pytest.raises(ValidationError, match="not a secret reference") as raised:
        model.model_validate({"api_key": "pa55word in clear"})
    assert "pa55word" not in f"{raised.value}{raised.value.errors()}{raised.value.json()}"
    with pytest.raises(ValidationError, match="is a text"):
        model.model_validate({"api_key": 5})


# -- the resolver -----------------------------------------------------------------------------------------------------


class TestMemoryBackend(SecretBackendContract):
    def make_backend(self, config: SecretSettings) -> SecretBackend:
        self.values = getattr(self, "values", {})
        backend = MemoryBackend(config)
        backend._versions = self.values
        return backend

    def put(
        self, backend: SecretBackend, path: str, value: str, *, field: str | None = None, tenant: str | None = None
    ) -> None:
        assert isinstance(backend, MemoryBackend)
        backend.put(path, value, field=field, tenant=tenant)


class Fixed(SecretBackend):
    """Returns, or raises, what the class says; and remembers what it was asked."""

    answer: Any = "the value"
    made = 0

    def __init__(self, config: SecretSettings | None = None) -> None:
        super().__init__(config)
        type(self).made += 1

    def get(self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        return f"value of {path}" if self.answer is None else self.answer


class Plugin:
    @hookimpl
    def automate_register_secret_backends(self) -> list[Spec]:
        return [Spec("env", "by.hand:Env"), Spec("broken", "no_such_module:Backend", requires="acme[x]")]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    found = Registry([Plugin()], load_entry_points=False)
    monkeypatch.setattr(found, "load", lambda kind, key: Env if key == "env" else Registry.load(found, kind, key))
    return found


class Env(Fixed):
    answer = None

    def locate(self, path: str) -> str:
        return self.config.prefix + path


def resolver_with(answer: Any, **options: Any) -> Resolver:
    backend = Fixed(SecretSettings())
    backend.answer = answer
    return Resolver(backends={"secret": backend}, **options)


def test_the_prefix_belongs_to_secret_and_not_to_env(registry: Registry) -> None:
    resolver = Resolver(registry=registry, config=SecretSettings(prefix="SHOP_"))
    assert resolver.resolve("$secret:TOKEN_NAME") == "value of SHOP_TOKEN_NAME"
    assert resolver.resolve("$env:TOKEN_NAME") == "value of TOKEN_NAME"


def test_a_backend_is_made_once_and_again_when_the_settings_change(registry: Registry) -> None:
    resolver = Resolver(registry=registry)
    before = Env.made
    try:
        for prefix in ("ONE_", "ONE_", "TWO_"):
            settings_module.configure(Settings(secrets=SecretSettings(prefix=prefix)))
            assert resolver.resolve("$secret:TOKEN") == f"value of {prefix}TOKEN"
    finally:
        settings_module.configure(None)
    assert Env.made - before == 2


class Nested(SecretBackend):
    """Resolves what it logs in with when it is made."""

    def __init__(self, config: SecretSettings | None = None) -> None:
        super().__init__(config)
        self.token = Nested.resolver.resolve("$env:NESTED_TOKEN")

    def get(self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None) -> str:
        return f"{path} behind {self.token}"

    resolver: ClassVar[Resolver]


def test_a_backend_may_resolve_its_own_credentials(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda kind, key: {"env": Env, "nested": Nested}[key])
    Nested.resolver = Resolver(registry=registry, config=SecretSettings(backend="nested"))
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(Nested.resolver.resolve("$secret:A")), daemon=True)
    thread.start()
    thread.join(20)
    assert found == ["A behind value of NESTED_TOKEN"]


def test_a_backend_of_the_project_is_named_by_its_dotted_path() -> None:
    path = "automate_core.testing.secrets.MemoryBackend"
    for spelling in (path, ":".join(path.rsplit(".", 1))):
        resolver = Resolver(config=SecretSettings(backend=spelling))
        with pytest.raises(SecretNotFoundError, match=r"^\$secret:API_KEY: 'API_KEY' was not put"):
            resolver.resolve("$secret:API_KEY")


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ("vault", r"pip install --upgrade 'automate-secrets\[vault\]'"),
        ("enf", "Did you mean 'env'"),
        ("broken", r"pip install 'acme\[x\]'"),
        ("no.such.module.Backend", "cannot|missing"),
        ("automate_core.errors.nearby", "not a subclass"),
    ],
)
def test_a_backend_that_cannot_be_had_says_what_to_do(registry: Registry, backend: str, says: str) -> None:
    resolver = Resolver(registry=registry, config=SecretSettings(backend=backend))
    with pytest.raises(SecretBackendUnavailable, match=says) as raised:
        resolver.resolve("$secret:API_KEY")
    assert not raised.value.retryable
    assert raised.value.context["reference"] == "$secret:API_KEY"
    assert len(resolver.check()) == 1
    # Nothing of it touches the references of another backend.
    assert resolver.resolve("$env:API_KEY") == "value of API_KEY"


@pytest.mark.parametrize(
    ("allow", "allowed", "denied"),
    [
        (("$secret:*",), "$secret:A", "$env:A"),
        (("$secret:SHOP_*", "$env:HOME"), "$secret:SHOP_KEY", "$secret:BANK_KEY"),
        (("$secret:A",), "$secret:A@3", "$secret:AB"),
        (("$vault:kv/shop*",), "$vault:kv/shop#key", "$vault:kv/bank#key"),
        ((), None, "$secret:A"),
    ],
)
def test_what_the_settings_do_not_allow_is_denied(allow: tuple[str, ...], allowed: str | None, denied: str) -> None:
    backend = MemoryBackend(SecretSettings())
    resolver = Resolver(
        config=SecretSettings(allow=allow), backends=dict.fromkeys(["secret", "env", "vault", "aws"], backend)
    )
    if allowed:
        with pytest.raises(SecretNotFoundError):
            resolver.resolve(allowed)
    with pytest.raises(SecretAccessDenied, match=r"SECRETS\.allow"):
        resolver.resolve(denied)
    with pytest.raises(SecretAccessDenied):
        asyncio.run(resolver.aresolve(denied))


def test_a_backend_is_not_asked_for_what_it_does_not_support() -> None:
    for reference, says in (("$secret:A#f", "leave #f out"), ("$secret:A@2", "leave @2 out")):
        with pytest.raises(SecretError, match=says):
            resolver_with(AssertionError("asked")).resolve(reference)


@pytest.mark.parametrize(
    ("answer", "error", "retryable"),
    [
        (ConnectionError("to user:word@host"), SecretBackendUnavailable, True),
        (SecretBackendUnavailable("sealed", retry_after=5.0), SecretBackendUnavailable, True),
        (SecretNotFoundError("not there"), SecretNotFoundError, False),
        (b"bytes", SecretError, False),
        (None, SecretError, False),
        ("", SecretNotFoundError, False),
    ],
)
def test_every_failure_is_typed_and_names_the_reference(answer: Any, error: type[Exception], retryable: bool) -> None:
    backend = Fixed(SecretSettings())
    backend.get = lambda path, **options: _answer(answer)  # type: ignore[method-assign]  # also None and bytes
    resolver = Resolver(backends={"secret": backend})
    for ask in (resolver.resolve, lambda ref: asyncio.run(resolver.aresolve(ref))):
        with pytest.raises(error, match=r"^\$secret:API_KEY: ") as raised:
            ask("$secret:API_KEY")
        assert type(raised.value) is error
        assert getattr(raised.value, "retryable", None) is retryable
        assert getattr(raised.value, "retry_after", None) == getattr(answer, "retry_after", None)
        assert "word" not in str(raised.value)


def _answer(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def test_what_was_resolved_is_hidden_with_the_password_inside() -> None:
    url = "postgres://shop:corr%20ect-horse@db/shop"
    assert resolver_with(url).resolve("$secret:DATABASE_URL") == url
    assert redact_text("could not log in with 'corr ect-horse'") == f"could not log in with '{REDACTED}'"
    assert url not in redact_text(f"to {url}")


def test_the_functions_of_the_specification(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    resolver = Resolver(registry=registry, config=SecretSettings(prefix="P_"))
    monkeypatch.setattr("automate_core.secrets.resolver", resolver)
    assert resolve("$secret:STRIPE_API_KEY") == "value of P_STRIPE_API_KEY"
    assert resolve(SecretRef("$env:STRIPE_API_KEY")) == "value of STRIPE_API_KEY"
    assert asyncio.run(aresolve("$secret:STRIPE_API_KEY")) == "value of P_STRIPE_API_KEY"


def test_the_settings_do_not_show_the_keys() -> None:
    assert "c2VjcmV0" not in repr(SecretSettings(keys={"k1": "c2VjcmV0"}))
