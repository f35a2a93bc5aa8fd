"""What automate-connectors registers with the core."""
