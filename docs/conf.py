"""How the site is built: `make docs`, or `sphinx-build -W -b html docs docs/_build/html`.

Nothing is fetched while it is built, and the pages ask for nothing outside themselves.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = str(HERE.parent / "src")
sys.path[:0] = [str(HERE / "_ext"), SOURCE]
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # of the processes that run pages, too
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE, os.environ.get("PYTHONPATH")]))

import holdfast  # noqa: E402

project = "holdfast"
author = "The holdfast developers"
copyright = author
version = release = holdfast.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "api_pages",
    "catalogue_tables",
    "house_docstrings",
    "reproduction_tables",
]
exclude_patterns = [
    "_build",
    "**.ipynb_checkpoints",
    "gallery/*",
    "jupyter_execute",
    "sg_execution_times.rst",
    "auto_gallery/*.ipynb",
]
default_role = "code"
highlight_language = "none"
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "auto"
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_ipywidgets_js = {}

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1_000_000,
    "plot_gallery": "True",
    "image_srcset": ["2x"],
}

html_theme = "pydata_sphinx_theme"
html_title = "holdfast"
html_static_path = ["_static"]
html_css_files = ["holdfast.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
