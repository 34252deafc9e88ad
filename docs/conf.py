"""The site: how Sphinx makes pages of docs/*.md, of the docstrings and of docs/gallery/*.py."""

import contextlib
import os
import re
import sys
import urllib.request
import warnings
from http.client import HTTPException
from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TQDM_DISABLE", "1")  # progress is for a terminal or a notebook
HERE = Path(__file__).parent
BUILD = HERE.parent / "build/docs"

project = "aruba_fast"
author = "The aruba_fast authors"
copyright = author
version = release = installed_version("aruba_fast")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
highlight_language = "text"  # of what names none: commands, and lines of a table
exclude_patterns = ["_templates", "gallery/*.ipynb"]
templates_path = ["_templates"]

# ---- the pages ---------------------------------------------------------------------------------

myst_enable_extensions = ["deflist", "colon_fence"]
# Headings have the anchors that they have where the pages are read in the repository.
myst_heading_anchors = 4


PICTURE = re.compile(r"^\[Picture: (.+)\]\(gallery/(\w+)\.py\)$", re.MULTILINE)


def site_links(app, page, source):
    """In the repository a link leads to a program, here to its page, or is the picture it draws."""
    picture = r"[![\1](gallery/images/sphx_glr_\2_001.png)](gallery/\2.rst)"
    source[0] = PICTURE.sub(picture, source[0])
    source[0] = source[0].replace("(../CHANGELOG.md)", "(changelog.md)")
    source[0] = source[0].replace("(gallery/README.rst)", "(gallery/index.rst)")
    source[0] = re.sub(r"\((gallery/\w+)\.py\)", r"(\1.rst)", source[0])


# ---- the reference -----------------------------------------------------------------------------

autosummary_generate = True
autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # docstrings have types and shapes
PUBLIC = (
    "aruba_fast aruba_fast.datasets aruba_fast.theory aruba_fast.sklearn aruba_fast.torch "
    "aruba_fast.jax aruba_fast.federated aruba_fast.privacy aruba_fast.flower aruba_fast.pfl "
    "aruba_fast.dask"
)
autosummary_context = {"public": {name: import_module(name).__all__ for name in PUBLIC.split()}}
KNOWN = {name for names in autosummary_context["public"].values() for name in names}
KNOWN |= {"aruba_fast", "numpy", "torch", "jax", "sklearn", "flwr"}
# A public name in `backticks` is a link.
default_role = "py:obj"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Warns", "params_style"), "Source", "Equation"]


def marked_up(line):
    """A line of prose, in which mathematics is no markup and a name in `backticks` is code."""
    parts = re.split(r"(`[^`]*`)", line)
    # What is no public name is no link, to another class's argument of that name, say.
    parts[1::2] = [p if p.strip("`").split(".")[0] in KNOWN else f"`{p}`" for p in parts[1::2]]
    parts[::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
    # Markup ends only before a space or a mark: an escaped space is none.
    parts[2::2] = [re.sub(r"^(?=[^\s.,;:)])", r"\\ ", part) for part in parts[2::2]]
    return "".join(parts)


def beside(name):
    """What stands below a constant, which has no docstring, in the module that has it."""
    package, _, constant = name.rpartition(".")
    for module in [m for m in sys.modules if m.startswith(package)]:
        with contextlib.suppress(PycodeError):
            found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", constant))
            if found:
                return found
    return []


def plain(app, what, name, obj, options, lines):
    """Marks equations, which docstrings only indent, and keeps mathematics from being markup."""
    if what == "data":
        lines[:] = beside(name)
    made, before, equation = [], "", None
    rest = iter(lines)
    for line in rest:
        indent = len(line) - len(line.lstrip())
        if line and equation is not None and indent < equation:
            equation = None
        if line and not before and made and equation is None:
            last = next((text for text in reversed(made) if text), "")
            above = len(last) - len(last.lstrip())
            if indent >= above + 4 and not line.lstrip().startswith(">>>"):
                made += [" " * above + ".. code-block:: text", ""]
                equation = indent
        before = line
        if equation is None and not line.lstrip().startswith((">>>", "...", "..")):
            if line.count("`") % 2:  # goes on in the next line
                line = f"{line} {next(rest, '').lstrip()}"
            line = marked_up(line)
        made.append(line)
    if made and what in ("attribute", "data", "property"):
        made[0] = f": {made[0]}"  # before a colon napoleon looks for a type
    lines[:] = made


def foreign(app, what, name, obj, skip, options):
    """What a class has of other packages is told there."""
    home = getattr(obj, "fget", None) or getattr(obj, "__objclass__", None) or obj
    module = getattr(home, "__module__", None)
    return True if module and not module.startswith("aruba_fast") else None


# ---- other projects' pages, where they can be reached ------------------------------------------

OTHERS = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "jax": "https://docs.jax.dev/en/latest/",
    "sklearn": "https://scikit-learn.org/stable/",
    "flwr": "https://flower.ai/docs/framework/",
}


def inventories():
    """Inventories that were fetched now or before: a build without a network has fewer links."""
    folder = BUILD / "inventories"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    with contextlib.suppress(OSError, HTTPException):  # the first that cannot be reached ends it
        for name, address in OTHERS.items():
            if not (folder / name).exists():
                with urllib.request.urlopen(f"{address}objects.inv", timeout=5) as answer:  # noqa: S310
                    content = answer.read()
                if content.startswith(b"# Sphinx inventory version"):
                    (folder / name).write_bytes(content)
    for name, address in OTHERS.items():
        if (folder / name).exists():
            found[name] = (address, str(folder / name))
    return found


intersphinx_mapping = inventories()

# ---- the gallery -------------------------------------------------------------------------------

warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
sphinx_gallery_conf = {
    "examples_dirs": str(HERE / "gallery"),
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": False,
    "only_warn_on_example_error": False,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("aruba_fast",),
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "download_all_examples": False,
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
}

# ---- how it looks ------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "aruba_fast"
html_static_path = ["_static"]
html_css_files = ["site.css"]
toc_object_entries_show_parents = "hide"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
    "show_toc_level": 2,
    "pygments_light_style": "tango",
}

linkcheck_timeout = 20
linkcheck_retries = 2


def setup(app):
    """Before napoleon, at 500, makes sections of the docstrings."""
    app.connect("autodoc-process-docstring", plain, priority=400)
    app.connect("autodoc-skip-member", foreign)
    app.connect("source-read", site_links)
