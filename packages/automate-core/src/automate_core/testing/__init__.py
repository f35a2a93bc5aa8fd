"""Contract test classes and in-memory doubles, for plugins and for our own tests."""
