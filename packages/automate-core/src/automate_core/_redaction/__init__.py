"""What the redactor is made of: names of secrets, live values in every encoding, shapes in text."""
