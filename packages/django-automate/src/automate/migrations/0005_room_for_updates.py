from django.db import migrations

# A run and its execution are changed once or twice, in columns that no index has. Where the new version of a row finds
# room beside the old one, PostgreSQL leaves the indexes alone (HOT); pages that are filled to the end have none.
TABLES = ("automate_execution", "automate_executionrun")


def make_room(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")


def fill_up(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"ALTER TABLE {table} RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [
        ("automate", "0004_audit_guard"),
    ]

    operations = [
        migrations.RunPython(make_room, fill_up),
    ]
