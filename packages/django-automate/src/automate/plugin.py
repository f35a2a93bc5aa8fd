"""What django-automate registers with the core."""
