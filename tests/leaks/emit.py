"""What happens outside the workers: one event, and one item for each way in which a handler fails."""

from __future__ import annotations

import django


def main() -> None:
    """Emit and enqueue."""
    django.setup()
    from automate.events import emit_event
    from automate_core.outbox import NewJob
    from automate_outbox.store import get_store

    from leaks.app.automations import HOWS
    from leaks.kinds import BENIGN

    emit_event("leaks.hunt", {"word": "see", **BENIGN})
    get_store().add([NewJob("leaks.dies", {"how": how}, max_attempts=2) for how in HOWS if how != "exit"])


if __name__ == "__main__":
    main()
