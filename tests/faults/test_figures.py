"""The figures say what the ledger says."""

from __future__ import annotations

import json
from pathlib import Path

from faults.custody import Change
from faults.figures import Death, first_claim_after, first_claims, percentile, recoveries
from faults.report import BEGIN, END, write


def claim(seq: int, at: float, writer: str, row: str, old: str = "PENDING") -> Change:
    return Change(seq, at, writer, "job", row, old, "CLAIMED", token=f"t{seq}", attempts=1)


def test_recovery_is_from_the_death_to_the_next_claim_of_what_was_held() -> None:
    changes = [
        claim(1, 10.0, "77-a", "1"),
        claim(2, 10.0, "77-a", "2"),
        Change(3, 10.5, "77-a", "job", "2", "CLAIMED", "COMPLETED", old_token="t2"),
        claim(4, 10.6, "78-b", "3"),
        Change(5, 14.0, "78-b", "job", "1", "CLAIMED", "RETRY", old_token="t1", crashes=1),
        claim(6, 15.0, "78-b", "1", "RETRY"),
        Change(7, 15.1, "78-b", "job", "1", "CLAIMED", "RETRY", old_token="t6", old_attempts=2, attempts=1),
        claim(8, 16.0, "78-b", "1", "RETRY"),
        Change(9, 17.0, "78-b", "job", "1", "CLAIMED", "COMPLETED", old_token="t8", old_attempts=2, attempts=2),
        # What it had handed back before it died is not its own any more.
        claim(10, 10.0, "77-a", "4"),
        Change(11, 10.1, "77-a", "job", "4", "CLAIMED", "PENDING", old_token="t10", old_attempts=1),
        claim(12, 10.2, "78-b", "4"),
        Change(13, 19.0, "78-b", "job", "4", "CLAIMED", "COMPLETED", old_token="t12"),
    ]
    assert recoveries(changes, [Death(11.0, (76, 77))]) == [5.0]
    assert first_claim_after(changes, 10.55) == 10.6 - 10.55
    assert first_claim_after(changes, 20.0) == float("inf")
    assert first_claims(changes, [(9.0, 10.25), (10.3, 10.55), (18.0, 20.0)]) == [10.6 - 10.55, float("inf")]
    assert first_claims(changes, []) == []


def test_percentiles() -> None:
    assert percentile([], 0.99) == 0.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(list(map(float, range(100))), 0.99) == 99.0


def test_the_page_keeps_its_text_and_gets_new_figures(tmp_path: Path) -> None:
    (tmp_path / "postgres-1-storm.json").write_text(json.dumps({"full": True, "jobs": 100_000, "lost": 0}))
    (tmp_path / "postgres-2-outage.json").write_text(json.dumps({"first claim": 1.234}))
    (tmp_path / "sqlite-1-storm.json").write_text(json.dumps({"jobs": 2000, "lost": 1}))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write(tmp_path, page)
    text = page.read_text()
    assert text.partition(BEGIN)[0] == "before\n"
    assert text.partition(END)[2] == "\nafter\n"
    assert "old" not in text
    assert "| | goal | PostgreSQL | SQLite |" in text
    assert "| jobs |  | 100,000 | 2,000 |" in text
    assert "| lost | ≤ 0 | 0 | 1 (missed) |" in text
    assert "| first claim |  | 1.23 |  |" in text
    page.unlink()
    write(tmp_path, page)
    assert page.read_text().startswith("# Reliability\n")
