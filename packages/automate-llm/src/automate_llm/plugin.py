"""What automate-llm registers with the core."""
