"""The backend of environment variables, and what the package needs to be imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
from automate_core.errors import SecretBackendUnavailable, SecretError, SecretNotFoundError
from automate_core.registry import Registry
from automate_core.secrets import Resolver, SecretBackend
from automate_core.settings import SecretSettings
from automate_core.testing.secrets import SecretBackendContract
from automate_secrets.env import EnvBackend


class TestEnvBackend(SecretBackendContract):
    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def make_config(self) -> SecretSettings:
        return SecretSettings(prefix="")

    def make_backend(self, config: SecretSettings) -> SecretBackend:
        return EnvBackend(config)

    def put(
        self, backend: SecretBackend, path: str, value: str, *, field: str | None = None, tenant: str | None = None
    ) -> None:
        self.monkeypatch.setenv(path, value)

    def test_an_empty_variable_is_no_secret(self) -> None:
        self.monkeypatch.setenv("EMPTY", "")
        with pytest.raises(SecretNotFoundError, match="EMPTY is empty"):
            EnvBackend().get("EMPTY")

    @pytest.mark.parametrize("path", ["a/b", "a-b", "a.b", "a=b", "ä"])
    def test_what_cannot_name_a_variable_is_refused(self, path: str) -> None:
        with pytest.raises(SecretError, match="cannot be the name"):
            EnvBackend().get(path)


def test_both_schemes_are_resolved_through_the_installed_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "with the prefix")
    monkeypatch.setenv("TOKEN", "without the prefix")
    resolver = Resolver(registry=Registry(), config=SecretSettings(prefix="SHOP_"))
    assert resolver.resolve("$secret:TOKEN") == "with the prefix"
    assert resolver.resolve("$env:TOKEN") == "without the prefix"
    for pinned in ("$env:TOKEN@2", "$env:TOKEN#field"):
        with pytest.raises(SecretError, match="out"):
            resolver.resolve(pinned)


def test_a_backend_that_no_plugin_brings_names_the_package() -> None:
    none = Registry(load_entry_points=False)
    with pytest.raises(SecretBackendUnavailable, match=r"pip install --upgrade 'automate-secrets\[vault\]'") as raised:
        Resolver(registry=none).resolve("$vault:kv/billing#api_key")
    assert not raised.value.retryable


BARE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("django", "cryptography", "asgiref"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())

import os
import automate_secrets, automate_secrets.plugin, automate_secrets.env, automate_secrets.db, automate_secrets.envelope
from automate_core.secrets import Resolver
from automate_core.settings import SecretSettings

os.environ["AUTOMATE_BARE"] = "works without extras"
assert Resolver().resolve("$secret:BARE") == "works without extras"
try:
    Resolver(config=SecretSettings(backend="db")).resolve("$secret:BARE")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_the_base_install_needs_neither_django_nor_cryptography() -> None:
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("SecretBackendUnavailable $secret:BARE: ")
    assert "pip install 'automate-secrets[db]'" in done.stdout
