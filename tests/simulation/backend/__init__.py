"""A Django database backend: SQLite whose connection the simulation can cut."""
