"""What automate-core registers with the core."""
