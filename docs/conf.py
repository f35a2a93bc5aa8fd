"""Sphinx: MyST pages, furo, and reference pages that are generated from the code."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT / "tests")]
os.environ["DJANGO_SETTINGS_MODULE"] = "settings_sqlite"

import django  # noqa: E402 - the settings come first

django.setup()

project = "Automate"
author = "The Automate maintainers"
copyright = f"2026, {author}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "automate_reference"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "Automate"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

# Every reference to a name of ours must resolve. The inventories of others are not fetched: a build needs no network.
nitpick_ignore_regex = [
    ("py:.*", r"(?!automate|rag\.).*"),
    ("py:.*", r"(automate|rag).*\._.*"),
]
