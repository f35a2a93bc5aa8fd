"""Where the project keeps which secret."""

from __future__ import annotations

__all__ = ["AWS", "BROKEN", "DB", "ENV", "REFERENCES", "VAULT"]

ENV = ("PASSWORD", "DATABASE_URL", "HEX_TOKEN")
"""In the environment."""

DB = ("JWT", "AWS_KEY")
"""In the database, encrypted."""

VAULT = ("PRIVATE_KEY",)
"""In Vault."""

AWS = {"SERVICE_ACCOUNT": "hunt/SERVICE_ACCOUNT", "RANDOM_KEY": "ssm/hunt/RANDOM_KEY"}
"""In Secrets Manager and the parameter store, by name."""

REFERENCES = (
    {name: f"$env:LEAKS_{name}" for name in ENV}
    | {name: f"$secret:{name}" for name in DB}
    | {name: f"$vault:secret/hunt/{name}" for name in VAULT}
    | {name: f"$aws:{path}" for name, path in AWS.items()}
)
"""The references by which definitions name them."""

BROKEN = (
    "$vault:secret/hunt/PRIVATE_KEY#nothing", "$vault:secret/hunt/MISSING", "$vault:secret/forbidden",
    "$vault:nowhere/hunt", "$vault:secret/hunt/PRIVATE_KEY@9", "$aws:hunt/SERVICE_ACCOUNT#nothing",
    "$aws:hunt/MISSING", "$aws:ssm/hunt/MISSING", "$aws:ssm/hunt/RANDOM_KEY#field", "$aws:hunt/SERVICE_ACCOUNT@9",
)  # fmt: skip
"""References with which the backends fail, some of them with a secret in their hands."""
