"""automate-connectors alone: the registry has the connectors, and the egress client refuses a private address."""

from automate_connectors import registry
from automate_core.errors import SSRFBlocked

assert {"http", "log", "slack"} <= set(registry.list_connectors())
try:
    registry.get_connector("http")().call("request", {"url": "http://127.0.0.1:9/"})
except SSRFBlocked:
    pass
else:
    raise AssertionError("a loopback address was not refused")
