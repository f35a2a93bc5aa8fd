"""Where the project keeps which secret."""

from __future__ import annotations

__all__ = ["DB", "ENV", "REFERENCES"]

ENV = ("PASSWORD", "DATABASE_URL", "PRIVATE_KEY", "HEX_TOKEN")
"""In the environment."""

DB = ("JWT", "AWS_KEY", "RANDOM_KEY", "SERVICE_ACCOUNT")
"""In the database, encrypted."""

REFERENCES = {name: f"$env:LEAKS_{name}" for name in ENV} | {name: f"$secret:{name}" for name in DB}
"""The references by which definitions name them."""
