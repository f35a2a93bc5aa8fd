"""What automate-secrets registers with the core."""
