"""What automate-secrets registers with the core."""

from __future__ import annotations

from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec

__all__ = ["automate_register_secret_backends"]


@hookimpl
def automate_register_secret_backends() -> list[Spec]:
    """Register the secret backends."""
    return [
        Spec("env", "automate_secrets.env:EnvBackend", "Environment variables"),
        Spec("db", "automate_secrets.db:DbBackend", "Encrypted rows of the database", requires="automate-secrets[db]"),
        Spec("vault", "automate_secrets.vault:VaultBackend", "Vault", requires="automate-secrets[vault]"),
        Spec(
            "aws",
            "automate_secrets.aws:AwsBackend",
            "AWS Secrets Manager and parameter store",
            requires="automate-secrets[aws]",
        ),
    ]
