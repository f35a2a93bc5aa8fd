from django.db import migrations

# SQLite drops a table's triggers when Django makes another table in its place: a migration that changes a column of
# the log or of its head ends with guard.install.


def make_head(apps, schema_editor):
    apps.get_model("automate", "AuditHead").objects.using(schema_editor.connection.alias).get_or_create(pk=1)


def install(apps, schema_editor):
    from automate.audit import guard

    if not guard.is_test_database():
        guard.install(schema_editor.connection)


def remove(apps, schema_editor):
    from automate.audit import guard

    guard.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [
        ("automate", "0003_event_function"),
    ]

    operations = [
        migrations.RunPython(make_head, migrations.RunPython.noop),
        migrations.RunPython(install, remove),
    ]
