"""Connectors for Automate, and the one egress client they use."""

from automate_connectors.__about__ import __version__
from automate_connectors.base import ActionContext, ActionSpec, Connector, TriggerSpec

# The package has a submodule and an attribute of one name. Importing a submodule binds it as an attribute of its
# package, but only the first time: done here, before the name is bound to the object, so that in whatever order others
# import the two, ``automate_connectors.registry`` stays the object and ``from automate_connectors.registry import …``
# finds the module in ``sys.modules``.
from automate_connectors.registry import registry

__all__ = ["ActionContext", "ActionSpec", "Connector", "TriggerSpec", "__version__", "registry"]
