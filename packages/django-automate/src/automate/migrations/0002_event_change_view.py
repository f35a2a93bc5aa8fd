from django.db import migrations

# The first word of the type is the kind of thing that the event is about, and the subject which one. A migration that
# changes a column of events drops this view first and makes it again: PostgreSQL refuses to change what a view reads,
# and SQLite to rename the table that Django makes in its place.
VIEW = """
    CREATE VIEW automate_event_change AS
    SELECT id,
           {first_word} AS aggregatetype,
           CASE WHEN subject = '' THEN {id} ELSE subject END AS aggregateid,
           type,
           payload,
           created_at AS {timestamp},
           source,
           tenant,
           CASE WHEN traceparent = '' THEN '' ELSE {tracing} END AS tracingspancontext
    FROM automate_event
"""
BY_VENDOR = {
    "postgresql": {
        "first_word": "split_part(type, '.', 1)",
        "id": "CAST(id AS text)",
        "tracing": "'traceparent=' || traceparent",
    },
    "mysql": {
        "first_word": "SUBSTRING_INDEX(type, '.', 1)",
        "id": "CAST(id AS CHAR)",
        "tracing": "CONCAT('traceparent=', traceparent)",
    },
    "sqlite": {
        "first_word": "substr(type, 1, instr(type || '.', '.') - 1)",
        "id": "id",
        "tracing": "'traceparent=' || traceparent",
    },
}


def create_view(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor in BY_VENDOR:
        quoted = connection.ops.quote_name("timestamp")
        schema_editor.execute(VIEW.format(timestamp=quoted, **BY_VENDOR[connection.vendor]))


def drop_view(apps, schema_editor):
    schema_editor.execute("DROP VIEW IF EXISTS automate_event_change")


class Migration(migrations.Migration):
    dependencies = [
        ("automate", "0001_initial"),
    ]

    operations = [
        migrations.RunPython(create_view, drop_view, atomic=False),
    ]
