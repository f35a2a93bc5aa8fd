"""Retrieval quality of automate-rag on a collection in BEIR format: nDCG@10, recall@10, recall@100, MRR@10.

::

    python benchmarks/retrieval.py FOLDER [--split test] [--embedder sentence_transformers] [--database URL]

The folder holds ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/test.tsv``, or the same with ``.gz``, and
``queries.<split>.jsonl`` and ``qrels.<split>.tsv``. The text of a document is its title, a space, and its text.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from automate_core.rag import Document, RagStore
from automate_rag.chunking import Chunker
from automate_rag.databases import Database, DjangoDatabase, SqliteFile
from automate_rag.embedded import EmbeddedStore
from automate_rag.stores import get_embedder

Judgements = dict[str, dict[str, float]]


def find(folder: Path, *names: str) -> Path:
    """Return the first of some files that is there, packed or not."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists():
                return path
    sys.exit(f"{folder} holds none of {', '.join(names)}: it is no collection in BEIR format")


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, unpacking it where it is packed."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        yield from (line.rstrip("\n") for line in file if line.strip())


def read_json(path: Path) -> dict[str, dict[str, Any]]:
    """Return the records of a file by their ids."""
    records = [json.loads(line) for line in read_lines(path)]
    return {record["_id"]: record for record in records}


def read_judgements(path: Path) -> Judgements:
    """Return what is judged relevant to each query."""
    judgements: Judgements = {}
    for line in list(read_lines(path))[1:]:
        query, document, score = line.split("\t")
        if float(score) > 0:
            judgements.setdefault(query, {})[document] = float(score)
    return judgements


def measure(ranking: Sequence[str], relevant: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of one query.

    Args:
        ranking: The documents that were found, best first.
        relevant: The gain of each relevant document.
    """
    gains = [relevant.get(document, 0.0) for document in ranking[:10]]
    best = sorted(relevant.values(), reverse=True)[:10]
    first = next((place for place, gain in enumerate(gains, start=1) if gain), 0)
    return {
        "nDCG@10": discounted(gains) / discounted(best),
        "recall@10": len(relevant.keys() & set(ranking[:10])) / len(relevant),
        "recall@100": len(relevant.keys() & set(ranking[:100])) / len(relevant),
        "MRR@10": 1 / first if first else 0.0,
    }


def discounted(gains: Sequence[float]) -> float:
    """Return the discounted cumulative gain."""
    return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains, start=1))


def evaluate(store: RagStore, folder: Path, split: str) -> dict[str, float]:
    """Index a collection, run the judged queries of a split, and return the mean of each figure.

    Args:
        store: The store.
        folder: The collection.
        split: The split.
    """
    corpus = read_json(find(folder, "corpus.jsonl"))
    queries = read_json(find(folder, f"queries.{split}.jsonl", "queries.jsonl"))
    judgements = read_judgements(find(folder, f"qrels.{split}.tsv", f"qrels/{split}.tsv"))
    documents = [Document(key, f"{doc.get('title', '')} {doc['text']}".strip()) for key, doc in corpus.items()]
    started = time.perf_counter()
    store.index("beir", documents, tenant="")
    indexed = time.perf_counter()
    figures = []
    for query, relevant in judgements.items():
        hits = store.query("beir", queries[query]["text"], tenant="", top_k=100, filters={})
        figures.append(measure([hit.id for hit in hits], relevant))
    asked = time.perf_counter()
    means = {name: sum(figure[name] for figure in figures) / len(figures) for name in figures[0]}
    return {
        **means,
        "documents": len(documents),
        "queries": len(figures),
        "ms per document": (indexed - started) / len(documents) * 1000,
        "ms per query": (asked - indexed) / len(figures) * 1000,
    }


def open_django(url: str) -> Database:
    """Make the tables in a database that is empty, and return it.

    Args:
        url: ``postgres://user:password@host:port/name``, ``mysql://…`` or ``sqlite://…``.
    """
    from urllib.parse import urlsplit

    import django
    from django.conf import settings
    from django.core.management import call_command

    parts = urlsplit(url)
    engine = {"postgres": "postgresql", "mysql": "mysql", "sqlite": "sqlite3"}[parts.scheme]
    database = {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": parts.path if engine == "sqlite3" else parts.path.lstrip("/"),
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
    }
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=["automate_rag"], USE_TZ=True)
    if engine == "mysql":
        import pymysql

        pymysql.version_info = (2, 2, 7, "final", 0)
        pymysql.install_as_MySQLdb()
    django.setup()
    call_command("migrate", verbosity=0)
    return DjangoDatabase("default")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Retrieval quality on a collection in BEIR format.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--embedder", default="", help="as in RAG.embedder; without it, keywords alone")
    parser.add_argument("--database", default="", help="URL of an empty database; without it, SQLite in memory")
    parser.add_argument("--size", type=int, default=Chunker().size, help="longest chunk, in characters")
    parser.add_argument("--overlap", type=int, default=Chunker().overlap, help="longest overlap, in characters")
    given = parser.parse_args()
    database = open_django(given.database) if given.database else SqliteFile()
    chunker = Chunker(given.size, given.overlap)
    store = EmbeddedStore(get_embedder(given.embedder), database=database, chunker=chunker)
    for name, value in evaluate(store, given.folder, given.split).items():
        sys.stdout.write(f"{name:<16} {value:.4f}\n")
    store.close()


if __name__ == "__main__":
    main()
