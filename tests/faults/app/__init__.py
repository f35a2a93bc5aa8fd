"""The app of the project under test: its effects can be counted, and it breaks where it is told to."""
