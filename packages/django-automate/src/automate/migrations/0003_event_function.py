from django.db import migrations

# What emit_event writes beside the item of the event. PostgreSQL keeps its plan for as long as a session lives. Tables
# are found by the search path of the caller, and written with the caller's rights, as in any statement.
# A change of it is a function of another name: the release before goes on with this one.
FUNCTION = """
    CREATE FUNCTION automate_event_add_v1(
        id uuid, type text, source text, subject text, tenant text, traceparent text, payload jsonb,
        causation_id uuid, causation_depth int, created_at timestamptz
    ) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO automate_event (
            id, type, source, subject, tenant, traceparent, payload, causation_id, causation_depth, created_at
        ) VALUES (
            id, type, source, subject, tenant, traceparent, payload, causation_id, causation_depth, created_at
        );
    END
    $$
"""


def create_function(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FUNCTION)


def drop_function(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION IF EXISTS automate_event_add_v1")


class Migration(migrations.Migration):
    dependencies = [
        ("automate", "0002_event_change_view"),
    ]

    operations = [
        migrations.RunPython(create_function, drop_function),
    ]
