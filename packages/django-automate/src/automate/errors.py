"""Every error that Automate raises; see :mod:`automate_core.errors`."""

from automate_core.errors import *  # noqa: F403 - the whole tree, under the package that users know
from automate_core.errors import __all__ as __all__
