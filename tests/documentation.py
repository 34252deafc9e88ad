"""What the documentation shows, run as a reader runs it: pages and docstrings."""

import doctest
import os
import re
from pathlib import Path

import pytest
import real_data
from optional import need

ROOT = Path(__file__).parent.parent
# What a page's code needs beyond NumPy: packages, and files of the real data.
PAGES = {
    "README.md": ([], []),
    "docs/install.md": ([], []),
    "docs/theory.md": ([], []),
    "docs/index.md": ([], []),
    "docs/when-not.md": ([], []),
    "docs/rates.md": ([], []),
    "docs/divergence.md": ([], []),
    "docs/saving.md": ([], []),
    "docs/threads.md": ([], []),
    "docs/own-loss.md": ([], []),
    "docs/people.md": (["sklearn", "pandas", "matplotlib"], []),
    "docs/federated.md": (["torch", "aruba_fast.flower", "aruba_fast.pfl"], []),
    "docs/privacy.md": (["dp_accounting", "torch"], []),
    "docs/clusters.md": (["narwhals", "pyarrow", "distributed"], []),
    "docs/torch.md": (["torch"], []),
    "docs/jax.md": (["jax", "optax"], []),
    "docs/data.md": (
        ["pandas", "narwhals", "pyarrow"],
        ["omniglot28.npz", "shakespeare_bosak.npz", "mnist_writers14.npz"],
    ),
}


def require_page(name):
    """Skips where a page or what its code needs is missing, which in CI is a failure."""
    if not (ROOT / name).exists() and not os.environ.get("CI"):
        pytest.skip("tests are run without the source tree around them")
    packages, files = PAGES[name]
    for package in packages:
        need(package)
    for file in files:
        real_data.require(file)


def run_page(name, request):
    """All Python blocks in order, as one program that a reader types; returns its variables."""
    require_page(name)
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("ARUBA_FAST_DATA", str(real_data.FOLDER))
    monkeypatch.chdir(request.getfixturevalue("tmp_path"))
    if "torch" in PAGES[name][0]:
        request.getfixturevalue("one_thread")
    text = (ROOT / name).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks, f"{name} shows no code"
    space = {"__name__": "page"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{name}, Python block {number + 1}", "exec"), space)
    return space


def run_examples(name, text):
    """Runs the examples of a docstring, which must print what they show; returns their number."""
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report = []
    assert runner.run(test, out=report.append).failed == 0, "".join(report)
    return len(test.examples)
