"""``python -m automate_core`` is the command ``automate``."""

import sys

from automate_core.cli import main

sys.exit(main())
