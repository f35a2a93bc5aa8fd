from django.db import migrations

# What the store writes for one item that nobody holds yet. PostgreSQL keeps its plan for as long as a session lives.
# Tables are found by the search path of the caller, and written with the caller's rights, as in any statement.
# A change of it is a function of another name: the release before goes on with this one.
FUNCTION = """
    CREATE FUNCTION automate_outbox_add_v1(
        kind text, payload jsonb, priority int, queue text, ordering_key text, tenant text, max_attempts int,
        due timestamptz, notify boolean
    ) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
        place timestamptz := COALESCE(due, statement_timestamp());
        new_id bigint;
    BEGIN
        INSERT INTO automate_outbox_job (
            kind, payload, priority, queue, ordering_key, tenant, max_attempts, next_attempt_at, status, attempts,
            lease_owner, lease_token, lease_expires_at, crashes, last_error, fingerprint, created_at
        ) VALUES (
            kind, payload, priority, queue, ordering_key, tenant, max_attempts, place, 'PENDING', 0,
            '', '', NULL, 0, '', '', statement_timestamp()
        ) RETURNING id INTO new_id;
        IF notify AND place <= statement_timestamp() THEN
            PERFORM pg_notify('automate_outbox', '');
        END IF;
        RETURN new_id;
    END
    $$
"""


def create_function(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FUNCTION)


def drop_function(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION IF EXISTS automate_outbox_add_v1")


class Migration(migrations.Migration):
    dependencies = [
        ("automate_outbox", "0001_initial"),
    ]

    operations = [
        migrations.RunPython(create_function, drop_function),
    ]
