"""What importing the package costs: no SDK, no Django, no tokenizer, until they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("openai", "anthropic", "tiktoken", "httpx2", "django")
MODULES = [
    "automate_llm",
    "automate_llm.budget",
    "automate_llm.connector",
    "automate_llm.gateway",
    "automate_llm.ledger",
    "automate_llm.plugin",
    "automate_llm.prices",
    "automate_llm.providers.anthropic",
    "automate_llm.providers.openai",
    "automate_llm.tokens",
]


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_public_modules_import_nothing_heavy() -> None:
    run(
        "import importlib, sys\n"
        f"for name in {MODULES!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = set({HEAVY!r}) & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)"
    )


def test_without_django_there_is_a_budget_in_the_process_by_utc() -> None:
    run(
        "import sys\n"
        "from datetime import datetime, UTC\n"
        "from automate_llm.budget import MemoryLedger, current_ledger, site_today\n"
        "before = datetime.now(UTC).date(); day = site_today(); after = datetime.now(UTC).date()\n"
        "assert before <= day <= after\n"
        "assert isinstance(current_ledger(), MemoryLedger) and current_ledger() is current_ledger()\n"
        "assert 'django' not in sys.modules"
    )


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_missing_sdk_is_named_with_the_command_that_installs_it(name: str) -> None:
    run(
        f"import os, sys\nsys.modules[{name!r}] = None\n"
        f"os.environ['{name.upper()}_API_KEY'] = 'a-key-for-tests'\n"
        "from automate_core.errors import PluginLoadError\n"
        "from automate_llm import chat\n"
        f"try:\n    chat([{{'role': 'user', 'content': 'x'}}], provider={name!r})\n"
        f"except PluginLoadError as error:\n    assert \"pip install 'automate-llm[{name}]'\" in error.message, error\n"
        "else:\n    raise SystemExit('no error')"
    )


def test_the_documented_import_line() -> None:
    from automate_llm import __all__, achat, chat, count_tokens, get_provider

    assert set(__all__) == {"__version__", "achat", "chat", "count_tokens", "get_provider"}
    assert all(map(callable, (achat, chat, count_tokens, get_provider)))
