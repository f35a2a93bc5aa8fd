"""A transactional outbox for Django with leases, fencing tokens and a reaper."""

from automate_outbox.__about__ import __version__

__all__ = ["__version__"]
