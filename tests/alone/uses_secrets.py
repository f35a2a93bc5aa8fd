"""automate-secrets alone: a reference is resolved from the environment, and its value redacted from then on."""

import os

from automate_core.redaction import redact_text
from automate_core.secrets import resolve

os.environ["AUTOMATE_API_KEY"] = "correct-horse-battery-staple"
assert resolve("$secret:API_KEY") == "correct-horse-battery-staple"
assert "horse" not in redact_text("the key is correct-horse-battery-staple")
