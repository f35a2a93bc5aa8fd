"""A process that competes for a day's budget: it reserves and settles from several threads, and says how that went."""

from __future__ import annotations

import json
import sys
import threading
import uuid
from collections import Counter
from datetime import date
from typing import Any


def main(given: dict[str, Any]) -> None:
    """Connect, wait for a line of input, compete, and print the outcomes by name.

    Args:
        given: ``kind`` and Django's entry of the database, ``day``, ``cap`` and ``amount`` in micro-dollars,
            ``threads``, and the ``rounds`` of each.
    """
    import django
    from automate_core.testing.databases import find_server
    from django.conf import settings

    if given["kind"] == "mariadb":
        find_server("mariadb")  # lets PyMySQL stand in for mysqlclient
    settings.configure(DATABASES={"default": given["database"]}, INSTALLED_APPS=["automate_llm"], USE_TZ=True)
    django.setup()
    from automate_core.errors import BudgetExceeded
    from automate_llm.budget import Reservation, Settlement
    from automate_llm.ledger import DjangoLedger
    from django.db import connections

    ledger, day, outcomes = DjangoLedger("default"), date.fromisoformat(given["day"]), Counter[str]()
    begin, lock = threading.Barrier(given["threads"] + 1), threading.Lock()

    def compete() -> None:
        connections["default"].ensure_connection()
        begin.wait()
        for _ in range(given["rounds"]):
            call = Reservation(uuid.uuid4(), day, given["amount"], "fake", "fake-1", "0" * 64)
            try:
                ledger.reserve(call, given["cap"])
                ledger.settle(call, Settlement(given["amount"], succeeded=True))
                outcome = "made"
            except BudgetExceeded:
                outcome = "refused"
            except Exception as error:  # whatever it is, the test shows it
                outcome = repr(error)
            with lock:
                outcomes[outcome] += 1
        connections.close_all()

    threads = [threading.Thread(target=compete) for _ in range(given["threads"])]
    for thread in threads:
        thread.start()
    print("ready", flush=True)  # noqa: T201 - the test reads it
    sys.stdin.readline()
    begin.wait()
    for thread in threads:
        thread.join()
    print(json.dumps(outcomes))  # noqa: T201


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
