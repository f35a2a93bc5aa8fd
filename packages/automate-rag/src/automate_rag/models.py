"""The tables of the embedded store in a Django project.

The store reads and writes them with the SQL of :mod:`automate_rag.statements`, which it shares with the store's own
SQLite file; the models make the migrations, and let a project look at its documents.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

__all__ = ["Chunk", "Document", "Endpoint", "Facet"]


class Endpoint(models.Model):
    """An endpoint of a tenant. ``stamp`` is new with every write: it tells caches in every process to look again."""

    digest = models.CharField(max_length=64, unique=True)
    tenant = models.CharField(max_length=255)
    name = models.CharField(max_length=200)
    stamp = models.CharField(max_length=32)

    class Meta:
        """Names in an error are looked up by tenant."""

        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["tenant"], name="automate_rag_tenant")]

    def __str__(self) -> str:
        return self.name


class Document(models.Model):
    """A document. ``metadata`` is JSON text, so that it comes back as it was given on every database."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, db_index=False)
    digest = models.CharField(max_length=64)
    name = models.CharField(max_length=500)
    content = models.TextField()
    metadata = models.TextField()
    content_hash = models.CharField(max_length=64)
    embedder = models.CharField(max_length=64)

    class Meta:
        """An id is there once in its endpoint."""

        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["endpoint", "digest"], name="automate_rag_document_key")
        ]

    def __str__(self) -> str:
        return self.name


class Chunk(models.Model):
    """A part of a document: its text for the keyword search, and its vector, float32, little-endian, of length 1."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE)
    document = models.ForeignKey(Document, on_delete=models.CASCADE, db_index=False)
    ordinal = models.IntegerField()
    text = models.TextField()
    embedding = models.BinaryField(null=True)

    class Meta:
        """Chunks are numbered within their document."""

        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["document", "ordinal"], name="automate_rag_chunk_key")
        ]

    def __str__(self) -> str:
        return f"{self.document_id}/{self.ordinal}"


class Facet(models.Model):
    """One thing that a filter can ask of a document: the digest of a metadata path and its value."""

    document = models.ForeignKey(Document, on_delete=models.CASCADE, db_index=False)
    digest = models.CharField(max_length=64)

    class Meta:
        """The index by which a filter asks one document."""

        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["document", "digest"], name="automate_rag_facet_key")
        ]

    def __str__(self) -> str:
        return self.digest
