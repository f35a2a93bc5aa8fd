"""One system that puts in jobs or events: it does as it is told on its standard input, and says how long it took.

``python emitters.py NAME`` makes the tables in the database of BENCH_URL and then reads lines such as ``single 300``,
300 in a transaction each, or ``bulk 1000``, all in one. The answer to each is a number of seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

URL = os.environ["BENCH_URL"]
PAYLOAD = {"amount": 3}
TABLE = """
CREATE TABLE job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, status smallint NOT NULL DEFAULT 0, payload jsonb NOT NULL,
    attempts int NOT NULL DEFAULT 0, lease_owner text, lease_expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON job (id) WHERE status = 0;
"""


@dataclass(frozen=True)
class Emitter:
    """How a system puts in jobs.

    Args:
        single: Puts in some jobs, each in a transaction of its own.
        bulk: Puts in some jobs at once; None where the system has no way to do that.
    """

    single: Callable[[int], object]
    bulk: Callable[[int], object] | None = None


def repeat(put: Callable[[], object]) -> Callable[[int], None]:
    """Return a function that calls another as often as it is told.

    Args:
        put: Puts in one job.
    """

    def single(count: int) -> None:
        for _ in range(count):
            put()

    return single


def raw() -> Emitter:
    """One INSERT, which psycopg prepares, on a connection that commits by itself."""
    import psycopg

    connection = psycopg.connect(URL, autocommit=True)
    connection.execute(TABLE)
    one, many = "INSERT INTO job (payload) VALUES (%s)", "INSERT INTO job (payload) SELECT unnest(%s::jsonb[])"
    text = '{"amount": 3}'
    return Emitter(repeat(lambda: connection.execute(one, [text])), lambda n: connection.execute(many, [[text] * n]))


def raw_notify() -> Emitter:
    """The same in a pipelined transaction that also sends a notification: what a queue at its fastest does."""
    import psycopg

    connection = psycopg.connect(URL, autocommit=True)
    connection.execute(TABLE)

    def put() -> None:
        with connection.pipeline():
            connection.execute("BEGIN")
            connection.execute("INSERT INTO job (payload) VALUES (%s)", ['{"amount": 3}'])
            connection.execute("SELECT pg_notify('job', '')")
            connection.execute("COMMIT")

    return Emitter(repeat(put))


def raw_rows() -> Emitter:
    """As :func:`raw`, with two rows for each job, as an event of ours is two."""
    import psycopg

    connection = psycopg.connect(URL, autocommit=True)
    connection.execute(TABLE)
    many = "INSERT INTO job (payload) SELECT unnest(%s::jsonb[])"
    texts = ['{"amount": 3}'] * 2
    return Emitter(repeat(lambda: connection.execute(many, [texts])), lambda n: connection.execute(many, [texts * n]))


def _django(apps: str = "") -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    if apps:
        os.environ["BENCH_APPS"] = apps
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def automate() -> Emitter:
    """``emit_event`` and ``emit_events`` with default settings."""
    _django()
    from automate import emit_event, emit_events

    event = {"type": "order.paid", "payload": PAYLOAD}
    return Emitter(repeat(lambda: emit_event("order.paid", PAYLOAD)), lambda n: emit_events([event] * n))


def automate_prepared() -> Emitter:
    """The same where Django lets psycopg prepare statements."""
    _django()
    from django.db import connection

    connection.close()
    connection.settings_dict["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 5}
    return automate()


def django_q2() -> Emitter:
    """``async_task`` with the ORM broker."""
    _django("django_q")
    from django_q.tasks import async_task

    return Emitter(repeat(lambda: async_task("probe.hit", 3)))


def django_tasks_db() -> Emitter:
    """``enqueue`` of Django's own tasks."""
    _django("django_tasks_db")
    from project.tasks import noop

    return Emitter(repeat(lambda: noop.enqueue(3)))


def procrastinate() -> Emitter:
    """``defer`` and ``batch_defer`` on Django's connection."""
    _django("procrastinate.contrib.django")
    from procrastinate.contrib.django import app

    @app.task(name="noop", queue="bench")
    def noop(amount: int) -> None:
        """Do nothing."""

    return Emitter(repeat(lambda: noop.defer(amount=3)), lambda n: noop.batch_defer(*[PAYLOAD] * n))


def pgqueuer() -> Emitter:
    """``enqueue`` over asyncpg."""
    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    loop = asyncio.new_event_loop()
    queries = Queries(AsyncpgDriver(loop.run_until_complete(asyncpg.connect(URL))))
    loop.run_until_complete(queries.install())

    async def put(count: int) -> None:
        for _ in range(count):
            await queries.enqueue("noop", b'{"amount": 3}')

    async def fill(count: int) -> None:
        await queries.enqueue(["noop"] * count, [b'{"amount": 3}'] * count, [0] * count)

    return Emitter(lambda n: loop.run_until_complete(put(n)), lambda n: loop.run_until_complete(fill(n)))


def main(name: str) -> None:
    """Serve one system until the input ends.

    Args:
        name: The function of this module that makes its emitter.
    """
    emitter: Emitter = globals()[name]()
    sys.stdout.write("ready\n" if emitter.bulk else "ready single\n")
    sys.stdout.flush()
    for line in sys.stdin:
        kind, count = line.split()
        work: Callable[[int], object] = getattr(emitter, kind)
        started = time.perf_counter()
        work(int(count))
        sys.stdout.write(f"{time.perf_counter() - started}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
