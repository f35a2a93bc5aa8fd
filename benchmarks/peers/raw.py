"""The ceiling: a queue in bare psycopg, without retries, history or logs; one pipelined transaction for each batch.

It completes the batch in hand and claims the next one in one round trip. Its workflows advance a batch in lockstep,
with one INSERT for a step of all of them.
"""

from __future__ import annotations

import os

import probe
import psycopg

URL = os.environ["BENCH_URL"]
BATCH = 100
TABLES = """
CREATE TABLE job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, status smallint NOT NULL DEFAULT 0, payload jsonb NOT NULL,
    attempts int NOT NULL DEFAULT 0, lease_owner text, lease_expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON job (id) WHERE status = 0;
CREATE TABLE step (
    job_id bigint, number smallint, output jsonb, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (job_id, number)
);
"""
CLAIM = """
UPDATE job SET status = 1, attempts = attempts + 1, lease_owner = %s, lease_expires_at = now() + interval '30 s'
WHERE id = ANY(ARRAY(SELECT id FROM job WHERE status = 0 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING id, payload
"""
COMPLETE = "UPDATE job SET status = 2, lease_owner = NULL WHERE id = ANY(%s) AND lease_owner = %s AND status = 1"
STEP = "INSERT INTO step (job_id, number, output) SELECT unnest(%s::bigint[]), %s, '1'"

_connections: list[psycopg.Connection] = []


def connect() -> psycopg.Connection:
    """Return this process's connection."""
    if not _connections:
        _connections.append(psycopg.connect(URL, autocommit=True))
    return _connections[0]


def setup() -> None:
    """Make the tables."""
    connect().execute(TABLES)


def fill(count: int) -> None:
    """Put in jobs, all at once."""
    connect().execute("INSERT INTO job (payload) SELECT '{\"i\": -1}' FROM generate_series(1, %s)", [count])


def put(number: int) -> None:
    """Put in one job and ring."""
    connection = connect()
    with connection.pipeline():
        connection.execute("BEGIN")
        connection.execute("INSERT INTO job (payload) VALUES (%s)", [f'{{"i": {number}}}'])
        connection.execute("SELECT pg_notify('job', '')")
        connection.execute("COMMIT")


def work(index: str) -> None:
    """Work for ever."""
    worker, connection, flows = f"w{index}", connect(), "BENCH_FLOW" in os.environ
    connection.execute("LISTEN job")
    done: list[int] = []
    while True:
        with connection.pipeline():
            claim = connection.cursor(binary=True)
            connection.execute("BEGIN")
            if done:
                connection.execute(COMPLETE, [done, worker])
            claim.execute(CLAIM, [worker, BATCH])
            connection.execute("COMMIT")
            rows = claim.fetchall()
        done = [row[0] for row in rows]
        if not done:
            for _ in connection.notifies(timeout=1.0, stop_after=1):
                pass
        for step in (1, 2, 3) if flows and done else ():
            connection.execute(STEP, [done, step])
        for _, payload in rows:
            probe.hit(payload["i"])
