"""What automate-outbox registers with the core."""
