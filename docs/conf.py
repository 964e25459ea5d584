"""How Sphinx builds these pages: Markdown through MyST, the furo theme, the API from its docstrings."""

from __future__ import annotations

from importlib.metadata import version as installed_version

import himalia.exceptions
from himalia.cluster.protocol.common import Cell

project = "Himalia"
author = "Himalia developers"
project_copyright = "Himalia developers"
version = release = installed_version("himalia")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# Prompts are not part of what one copies.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

autodoc_member_order = "bysource"
# Signatures show them; resolving them again for the text would need names that only type checkers import.
autodoc_typehints = "signature"
autodoc_use_type_comments = False
napoleon_google_docstring = False
# Attributes of a docstring belong to its class and are not described once more on their own.
napoleon_use_ivar = True

# Exceptions name `himalia.exceptions` as their module, so autodoc looks there for what their annotations mention.
vars(himalia.exceptions).setdefault("Cell", Cell)

html_theme = "furo"
html_title = "Himalia"
