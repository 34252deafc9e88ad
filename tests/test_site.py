"""The built site, as `make docs` tests it: a page for every public name, a figure a program."""

import os
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest

import aruba_fast

if not os.environ.get("ARUBA_SITE"):
    pytest.skip("the site is tested where it is built, by `make docs`", allow_module_level=True)

from sphinx.util.inventory import InventoryFile

ROOT = Path(__file__).parent.parent
SITE = Path(os.environ["ARUBA_SITE"])
# Modules whose public names are imported from the package itself, and stubs.
WITHIN = {
    "adaptation",
    "checkpoint",
    "fit",
    "learner",
    "proximal",
    "rules",
    "run",
    "statistics",
    "steps",
    "tasks",
    "train",
}
PACKAGES = ["aruba_fast"] + [
    f"aruba_fast.{module.name}"
    for module in pkgutil.iter_modules(aruba_fast.__path__)
    if not module.name.startswith("_") and module.name not in WITHIN
]
NAMES = [f"{package}.{name}" for package in PACKAGES for name in import_module(package).__all__]


@pytest.fixture(scope="module")
def inventory():
    content = InventoryFile.loads((SITE / "objects.inv").read_bytes(), uri="")
    return {
        name: item.uri
        for domain in content.data
        if domain.startswith("py:")
        for name, item in content.data[domain].items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_a_page_that_tells_of_it(name, inventory):
    page, _, anchor = inventory[name].partition("#")
    text = (SITE / page).read_text()
    assert f'id="{anchor.replace("$", name)}"' in text
    assert page == f"generated/{name}.html"
    told = text.partition(f'id="{anchor.replace("$", name)}"')[2].partition("</article>")[0]
    assert re.search(r"<p>.{20}", told, re.DOTALL), "not only a signature"


def test_a_constant_is_told_of_itself_and_not_of_its_type():
    text = (SITE / "generated/aruba_fast.datasets.SYMBOLS.html").read_text()
    assert "padding" in text
    assert "Built-in" not in text


def test_the_reference_has_no_other_names():
    """A page for each of `__all__`, and none of what was removed from it."""
    pages = {path.stem for path in (SITE / "generated").glob("*.html")}
    assert pages == {*NAMES, *PACKAGES}


@pytest.mark.parametrize(
    "program", sorted((ROOT / "docs/gallery").glob("*.py")), ids=lambda p: p.stem
)
def test_a_program_of_the_gallery_draws_one_figure(program):
    figures = list((SITE / "_images").glob(f"sphx_glr_{program.stem}_[0-9]*.png"))
    assert len(figures) == 1
    assert figures[0].stat().st_size > 10_000


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.stem)
def test_every_page_of_docs_is_on_the_site(page):
    assert (SITE / page.with_suffix(".html").name).exists()


def test_the_tutorial_is_a_notebook_that_runs(tmp_path, monkeypatch):
    """It evaluates new tasks, shows its progress and draws."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    (path,) = (SITE / "_downloads").glob("*/plot_7_sines.ipynb")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("300/300" in out.get("text", "") for out in outputs), "progress"
    assert any("after 10 steps" in out.get("text", "") for out in outputs)
    assert any("image/png" in out.get("data", {}) for out in outputs)
