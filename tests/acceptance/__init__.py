"""The product, held to its specification."""
