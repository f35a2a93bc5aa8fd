"""automate-outbox alone: an item is written, claimed and completed in a Django project of one app."""

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["automate_outbox"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True,
)
django.setup()

from automate_core.outbox import NewJob  # noqa: E402 - the settings come first
from automate_outbox.store import get_store  # noqa: E402 - likewise
from django.core.management import call_command  # noqa: E402 - likewise

call_command("check")
call_command("migrate", verbosity=0)
store = get_store()
store.add([NewJob("greet", {"name": "Ada"})])
(item,) = store.claim_batch("worker-1")
assert item.payload == {"name": "Ada"}
store.mark_success(item.id, "worker-1")
assert store.claim_batch("worker-1") == []
