"""automate-core alone: a rule decides, a workflow is planned, and neither Django nor an SDK is there."""

import sys

from automate_core.rules import evaluate
from automate_core.workflow import parse

assert evaluate({">=": [{"var": "amount"}, 100]}, {"amount": 250})
definition = parse({"slug": "one", "trigger": {"type": "manual"}, "steps": [{"id": "a", "action": "log.write"}]})
assert len(definition.hash()) >= 32
assert not {"django", "httpx2", "openai", "anthropic"} & set(sys.modules)
