"""The tables of the embedded document store, and their full-text index."""

import django.db.models.deletion
from automate_core import collations
from django.db import migrations, models

from automate_rag import fulltext


def create_index(apps, schema_editor):
    for statement in fulltext.CREATE.get(schema_editor.connection.vendor, ()):
        schema_editor.execute(statement)


def drop_index(apps, schema_editor):
    for statement in fulltext.DROP.get(schema_editor.connection.vendor, ()):
        schema_editor.execute(statement)


def compare_exactly(apps, schema_editor):
    tables = [model._meta.db_table for model in apps.get_app_config("automate_rag").get_models()]
    collations.compare_exactly(schema_editor, tables)


def foreign_key(to, **options):
    return models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=f"automate_rag.{to}", **options)


def primary_key():
    return models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Endpoint",
            fields=[
                ("id", primary_key()),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("tenant", models.CharField(max_length=255)),
                ("name", models.CharField(max_length=200)),
                ("stamp", models.CharField(max_length=32)),
            ],
            options={"indexes": [models.Index(fields=["tenant"], name="automate_rag_tenant")]},
        ),
        migrations.CreateModel(
            name="Document",
            fields=[
                ("id", primary_key()),
                ("digest", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=500)),
                ("content", models.TextField()),
                ("metadata", models.TextField()),
                ("content_hash", models.CharField(max_length=64)),
                ("embedder", models.CharField(max_length=64)),
                ("endpoint", foreign_key("endpoint", db_index=False)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["endpoint", "digest"], name="automate_rag_document_key")
                ]
            },
        ),
        migrations.CreateModel(
            name="Chunk",
            fields=[
                ("id", primary_key()),
                ("ordinal", models.IntegerField()),
                ("text", models.TextField()),
                ("embedding", models.BinaryField(null=True)),
                ("document", foreign_key("document", db_index=False)),
                ("endpoint", foreign_key("endpoint")),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["document", "ordinal"], name="automate_rag_chunk_key")
                ]
            },
        ),
        migrations.CreateModel(
            name="Facet",
            fields=[
                ("id", primary_key()),
                ("digest", models.CharField(max_length=64)),
                ("document", foreign_key("document", db_index=False)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=["document", "digest"], name="automate_rag_facet_key")]
            },
        ),
        migrations.RunPython(compare_exactly, migrations.RunPython.noop, atomic=False),
        migrations.RunPython(create_index, drop_index, atomic=False),
    ]
