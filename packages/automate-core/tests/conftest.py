"""What all tests of the core share."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says more about the neighbours of a machine than about the code; what may take how much is
# a matter of its own tests. Everything else stays as the profile in force has it, that of a CI among them.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
