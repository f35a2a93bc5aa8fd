"""The worker: claims items from the outbox and has them handled."""
