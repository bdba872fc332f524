"""The site: `python -m sphinx -W -b html docs docs/_build` (extra `docs`). Building it needs no network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "medjax"
author = "the medjax authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "generated"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "medjax"
html_copy_source = False

myst_heading_anchors = 3
# The notebook is executed by tests/test_docs.py; the site shows the output that is stored in it.
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
