"""Management commands of the secrets."""
