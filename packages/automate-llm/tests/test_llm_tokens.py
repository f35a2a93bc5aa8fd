"""Counting tokens: never an error, never a network."""

from __future__ import annotations

import base64
import hashlib
import importlib
import inspect
import logging
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
import tiktoken
import tiktoken.registry
from automate_llm import count_tokens, tokens
from hypothesis import given
from hypothesis import strategies as st
from tiktoken.load import load_tiktoken_bpe

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every connection fails the test; the cache is empty and nothing is loaded."""

    def refuse(*args: Any) -> NoReturn:
        raise AssertionError(f"count_tokens wants the network: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tokens, "_encodings", {})


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A table of 258 tokens under the name o200k_base, in tiktoken's own format, read by tiktoken's own loader."""
    ranks = [bytes([byte]) for byte in range(256)] + [b"he", b"ll"]
    table = b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(ranks))
    digest = hashlib.sha256(table).hexdigest()
    url = tokens.TABLE_URL.format(name="o200k_base")
    path = tmp_path / hashlib.sha1(url.encode()).hexdigest()
    path.write_bytes(table)

    def construct() -> dict[str, Any]:
        special = {"<|endoftext|>": 258}
        pattern = r"\S+|\s+"
        load = load_tiktoken_bpe(url, expected_hash=digest)
        return {"name": "o200k_base", "pat_str": pattern, "mergeable_ranks": load, "special_tokens": special}

    monkeypatch.setitem(tokens.TABLES, "o200k_base", digest)
    tiktoken.list_encoding_names()  # fills the table of constructors
    constructors = tiktoken.registry.ENCODING_CONSTRUCTORS
    assert constructors is not None
    monkeypatch.setitem(constructors, "o200k_base", construct)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    return path


def test_a_table_in_the_cache_is_used(tiny: Path) -> None:
    assert count_tokens("hello") == 3
    assert count_tokens("hello", model="gpt-4o") == 3
    assert count_tokens("hello", model="gpt-99-from-the-future") == 3


def test_special_tokens_are_text(tiny: Path) -> None:
    assert count_tokens("<|endoftext|>") == len("<|endoftext|>")


def test_a_long_run_is_counted_in_pieces(tiny: Path) -> None:
    assert count_tokens("a" * 1_000_000) == 1_000_000


@given(ANY_TEXT)
def test_any_text_has_a_count(text: str) -> None:
    count = count_tokens(text)
    assert type(count) is int
    assert (count > 0) == bool(text)
    assert count <= len(text.encode("utf-8", "surrogatepass"))


def test_lone_surrogates_have_a_count_with_a_table(tiny: Path) -> None:
    assert count_tokens("\ud83d and \udc00") > 0


@pytest.mark.parametrize("damage", ["truncated", "missing", "folder"])
def test_without_a_whole_table_it_is_estimated(tiny: Path, damage: str) -> None:
    """tiktoken itself would delete a damaged table and download it again."""
    content = tiny.read_bytes()
    tiny.unlink()
    if damage == "truncated":
        tiny.write_bytes(content[:-5])
    elif damage == "folder":
        tiny.mkdir()
    assert count_tokens("hello") == 1
    assert tiny.exists() == (damage != "missing")


@pytest.mark.parametrize("value", ["", None])
def test_without_a_cache_it_is_estimated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    if value is not None:
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", value)
    assert count_tokens("Hello, world!", model="gpt-4") == 4


def test_other_vendors_models_are_estimated(tiny: Path) -> None:
    assert count_tokens("hello", model="claude-haiku-4-5") == 1


def test_a_table_that_tiktoken_cannot_load_is_tried_once(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> NoReturn:
        raise ValueError("the table is of another kind")

    assert tiktoken.registry.ENCODING_CONSTRUCTORS is not None
    monkeypatch.setitem(tiktoken.registry.ENCODING_CONSTRUCTORS, "o200k_base", fail)
    with caplog.at_level(logging.WARNING, "automate.llm"):
        assert count_tokens("hello") == count_tokens("hello") == 1
    assert len(caplog.records) == 1


def test_our_names_and_hashes_are_those_of_tiktoken() -> None:
    source = inspect.getsource(importlib.import_module("tiktoken_ext.openai_public"))
    for name, digest in tokens.TABLES.items():
        assert tokens.TABLE_URL.format(name=name) in source
        assert digest in source
