"""The policy of outgoing HTTP: which URLs and which addresses may be called.

Plain functions without I/O. A URL's text is parsed once and only for its parts; what decides is its host's name, where
a list names it, and every address that it resolved to. The client that resolves, checks and connects is
``automate_connectors.egress``.
"""

from automate_core.egress.policy import EgressPolicy
from automate_core.egress.targets import Target, join_url, judge_address, parse_url

__all__ = ["EgressPolicy", "Target", "join_url", "judge_address", "parse_url"]
