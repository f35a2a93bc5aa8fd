"""django-automate alone: an event becomes a finished run, with the dependencies of the wheel and nothing else."""

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "automate_outbox", "automate"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "django-automate-alone.sqlite3"}},
    DJANGO_AUTOMATE={"WORKER_MODE": "synchronous"},
    USE_TZ=True,
    BASE_DIR=".",
)
django.setup()

from automate import action, emit_event, workflow  # noqa: E402 - the settings come first
from automate.models import Decision, Execution  # noqa: E402 - likewise
from django.core.management import call_command  # noqa: E402 - likewise


@action("shop.thank", idempotent=True)
def thank(name: str) -> dict[str, str]:
    return {"text": f"Thank you, {name}."}


with workflow("thank", on="order.paid", when={">=": [{"var": "amount"}, 100]}) as w:
    w.step("thank", thank, name=w.event["customer"])

call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)
call_command("automate_sync")
big = emit_event("order.paid", {"customer": "Ada", "amount": 250.0})
small = emit_event("order.paid", {"customer": "Bob", "amount": 9.5})
call_command("automate_worker", drain=True)
assert Decision.objects.get(event_id=big).matched
assert not Decision.objects.get(event_id=small).matched
execution = Execution.objects.get()
assert execution.status == "SUCCESS", execution.status
assert execution.runs.get().steps.get().output == {"text": "Thank you, Ada."}
