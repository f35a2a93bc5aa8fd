"""Alias of automate_rag, for the import line of the specification."""
