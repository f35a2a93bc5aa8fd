"""Migrations of automate-rag."""
