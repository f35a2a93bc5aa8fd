"""Acme Weather for Automate."""
