"""The embedders that ship. Each imports its library when it embeds for the first time."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar

from automate_core.errors import ConfigurationError, PluginLoadError, RagError
from automate_core.rag import Embedder

__all__ = ["SentenceTransformersEmbedder"]


class SentenceTransformersEmbedder(Embedder):
    """Models of sentence-transformers, in this process, on the CPU or what torch finds.

    Torch uses one thread, unless ``OMP_NUM_THREADS`` says otherwise: on a shared machine more threads wait for each
    other, and a query takes 20 times as long.

    Args:
        model: Name or folder of the model; left out, all-MiniLM-L6-v2 (384 dimensions, 256 tokens). A folder whose
            content changes must change its name, or documents keep their old vectors.
    """

    key: ClassVar[str] = "sentence_transformers"

    def __init__(self, model: str = "") -> None:
        super().__init__(model or "sentence-transformers/all-MiniLM-L6-v2")
        self._lock = threading.Lock()
        self._loaded: Any = None

    def _load(self) -> Any:
        with self._lock:
            if self._loaded is None:
                threads = os.environ.setdefault("OMP_NUM_THREADS", "1")
                os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
                try:
                    torch = import_module("torch")
                    library = import_module("sentence_transformers")
                except ImportError as error:
                    raise PluginLoadError(
                        f"RAG.embedder = 'sentence_transformers' needs a module that is missing ({error}). Install it: "
                        "pip install 'automate-rag[sentence-transformers]'"
                    ) from error
                if threads.isdigit():
                    torch.set_num_threads(int(threads))
                try:
                    self._loaded = library.SentenceTransformer(self.model)
                except (OSError, ValueError) as error:
                    raise ConfigurationError(
                        f"The model {self.model!r} cannot be loaded ({type(error).__name__}). It is downloaded at "
                        "first use; without a network, name its folder: RAG.embedder = 'sentence_transformers:/path'."
                    ) from error
            return self._loaded

    def _encode(self, texts: list[str]) -> Any:
        model = self._load()
        try:
            return model.encode(texts, show_progress_bar=False, convert_to_numpy=True)
        except RuntimeError as error:
            raise RagError(f"The model {self.model!r} failed: {error}") from error

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Embed passages.

        Args:
            texts: n texts.

        Returns:
            An array of shape (n, dimensions).

        Raises:
            PluginLoadError: If sentence-transformers is not installed.
            ConfigurationError: If the model cannot be loaded.
            RagError: If the model fails.
        """
        return self._encode(list(texts)) if len(texts) else []

    def embed_query(self, text: str) -> Any:
        """Embed a query.

        Args:
            text: The query.

        Returns:
            An array of shape (dimensions,).

        Raises:
            RagError: As :meth:`embed_documents`.
        """
        return self._encode([text])[0]
