"""How the documentation is built: `sphinx-build -n -T -W --keep-going docs build/docs`."""

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import chainrule

sys.path[:0] = [str(Path(__file__).parent / part) for part in ("_ext", "code")]

project = "chainrule"
author = "the chainrule developers"
version = release = chainrule.__version__
html_title = f"chainrule {version}"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "myst_parser",
    "ops_table",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

nitpicky = True
default_role = "code"  # docstrings put code into single backquotes
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # what the arguments are is said in words, under "Parameters"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_preprocess_types = False

_OUTSIDE_CODE = re.compile(r"(`+[^`]*`+)|([*|]|(?<=\w)_(?!\w))")


def escape_prose(
    _app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Keep stars, bars and trailing underscores of docstrings from being read as markup."""
    example = False
    for i, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if not example:
            lines[i] = _OUTSIDE_CODE.sub(lambda m: m[1] or "\\" + m[2], line)


def leave_out_numpys_own(
    _app: Sphinx, _what: str, _name: str, obj: Any, _skip: bool, _options: Any
) -> bool | None:
    """Names that `chainrule.numpy` merely passes on are described by NumPy."""
    from_numpy = (getattr(obj, "__module__", None) or "").partition(".")[0] == "numpy"
    return True if from_numpy else None


def resolve_exception(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.Element | None:
    """Let docstrings name our exceptions, and NumPy's, without their module."""
    target = node.get("reftarget", "")
    if node.get("reftype") != "exc" or "." in target:
        return None
    if target == "LinAlgError":
        return contnode
    domain = env.get_domain("py")
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "exc", f"chainrule.errors.{target}", node, contnode
    )


def setup(app: Sphinx) -> None:
    """Register the hooks."""
    app.connect("autodoc-process-docstring", escape_prose, priority=100)
    app.connect("autodoc-skip-member", leave_out_numpys_own)
    app.connect("missing-reference", resolve_exception)
