"""What automate-rag registers with the core."""
