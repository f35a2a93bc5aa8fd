"""The policy of outgoing HTTP: which URLs and which addresses may be called.

Plain functions without I/O, but for :mod:`automate_core.egress.resolving`, which asks for addresses. A URL's text is
parsed once and only for its parts; what decides is its host's name, where a list names it, and every address that it
resolved to. The client that connects is ``automate_connectors.egress``; the one under the SDKs of LLM vendors, which
must be built on theirs, asks the same functions.
"""

from automate_core.egress.policy import EgressPolicy
from automate_core.egress.targets import Target, join_url, judge_address, parse_url

__all__ = ["EgressPolicy", "Target", "join_url", "judge_address", "parse_url"]
