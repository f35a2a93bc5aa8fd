"""A project whose code does with secrets what it should not."""
