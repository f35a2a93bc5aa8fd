"""The providers, one file for each vendor."""
