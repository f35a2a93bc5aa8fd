"""Which store the settings name; one of it in each process."""

from __future__ import annotations

import os
import threading
from typing import Any

from automate_core import settings
from automate_core.errors import ConfigurationError
from automate_core.plugins import load_target
from automate_core.rag import Embedder, RagStore
from automate_core.registry import registry

from automate_rag.databases import django_is_ready

__all__ = ["close_store", "get_embedder", "get_store"]

_lock = threading.Lock()
_current: tuple[Any, RagStore] | None = None


def get_store() -> RagStore:
    """Return the store that ``RAG.store`` names, with the embedder that ``RAG.embedder`` names.

    Returns:
        The same object until the settings change.

    Raises:
        ConfigurationError: If a setting is wrong.
        NotRegisteredError: If nothing is registered under a name.
        PluginLoadError: If something cannot be imported; the message names what to install.
    """
    global _current
    wanted = settings.current().rag
    # A child process must not use the connections of its parent.
    key = (wanted, os.getpid(), django_is_ready())
    with _lock:
        if _current is None or _current[0] != key:
            store = _find("rag_stores", "RAG.store", wanted.store, RagStore)
            if _current is not None and _current[0][1] == os.getpid():
                _current[1].close()
            _current = (key, store(get_embedder(wanted.embedder)))
        return _current[1]


def close_store() -> None:
    """Close the current store; the next call of :func:`get_store` opens another one."""
    global _current
    with _lock:
        if _current is not None and _current[0][1] == os.getpid():
            _current[1].close()
        _current = None


def get_embedder(name: str) -> Embedder | None:
    """Return a new embedder.

    Args:
        name: A registered key or the dotted path of a class, with a model after a colon where one is wanted:
            ``"sentence_transformers"``, ``"sentence_transformers:/models/mini"``, ``"acme.embedders.Local"``. Empty
            means none.

    Raises:
        ConfigurationError: If it names something else.
        NotRegisteredError: If nothing is registered under the key.
        PluginLoadError: If it cannot be imported.
    """
    if not name:
        return None
    key, _, model = name.partition(":")
    embedder: Embedder = _find("embedders", "RAG.embedder", key, Embedder)(model)
    return embedder


def _find(kind: str, setting: str, name: str, base: type[Any]) -> Any:
    module, dot, attribute = name.rpartition(".")
    found = load_target(f"{module}:{attribute}", what=setting) if dot else registry.load(kind, name)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigurationError(f"{setting} = {name!r} is no subclass of automate_core.rag.{base.__name__}.")
    return found
