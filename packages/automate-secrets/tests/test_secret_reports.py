"""What Django's debug page and its mails to admins would show of a backend that fails, with its credentials in hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from automate_core import redaction
from automate_core.errors import SecretError
from automate_core.secrets import Resolver
from automate_core.settings import SecretSettings
from aws_server import AwsServer, Reply
from django.views.debug import ExceptionReporter
from vault_server import VaultServer

VALUE = "a value that nobody else has"
CREDENTIAL = "0b8c7f5e-a-credential-that-nobody-else-has"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "THE_TOKEN"):
        monkeypatch.setenv(name, CREDENTIAL)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    yield
    redaction._live.clear()


def report(resolver: Resolver, reference: str) -> str:
    """Resolve what cannot be, and return the page and the mail."""
    try:
        resolver.resolve(reference)
    except SecretError:
        reporter = ExceptionReporter(None, *sys.exc_info())
        return reporter.get_traceback_html() + reporter.get_traceback_text()
    raise AssertionError("resolved")


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    with VaultServer() as server:
        server.write("secret/data/billing", {"data": {"api_key": VALUE}})
        yield server


def by_vault(vault: VaultServer, **settings: object) -> Resolver:
    options = {"address": vault.url, "mounts": {"secret": 2}, "token": "$env:THE_TOKEN", **settings}
    return Resolver(config=SecretSettings.model_validate({"vault": options}))


@pytest.mark.parametrize("what", ["a field", "denied", "no answer", "a login", "unreachable"])
def test_vault(vault: VaultServer, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, reference = by_vault(vault), "$vault:secret/billing#other"
    hidden = [VALUE, CREDENTIAL]
    if what == "a field":
        monkeypatch.setenv("THE_TOKEN", vault.root_token)
        hidden = [VALUE, vault.root_token]
    elif what == "no answer":
        vault.drop(times=None)
    elif what == "a login":
        resolver = by_vault(vault, token="", auth="approle", role_id="role", secret_id="$env:THE_TOKEN")
    elif what == "unreachable":
        resolver = by_vault(vault, address="http://127.0.0.1:9")
    shown = report(resolver, reference)
    assert reference in shown
    assert "_vault_client.py" in shown or what == "a field", "the places stay"
    assert [text for text in hidden if text in shown] == []


@pytest.mark.parametrize("what", ["a field", "binary", "denied", "no answer", "garbled"])
def test_aws(what: str) -> None:
    reply = {
        "a field": Reply(200, f'{{"SecretString": "{VALUE}"}}'),
        "binary": Reply(200, '{"SecretBinary": "/4D/gP+A"}'),
        "denied": Reply(400, f'{{"__type": "AccessDeniedException", "Message": "not with {VALUE}"}}'),
        "no answer": Reply(0),
        "garbled": Reply(200, f"<{VALUE}"),
    }[what]
    with AwsServer(reply) as server:
        config = SecretSettings.model_validate({"aws": {"endpoint": server.url, "region": "eu-west-1"}})
        shown = report(Resolver(config=config), "$aws:prod/billing#other")
    assert "aws.py" in shown
    hidden = [CREDENTIAL] if what == "denied" else [VALUE, CREDENTIAL]  # what AWS says is told
    assert [text for text in hidden if text in shown] == []
