"""What imports what: no circle, imports for type checkers included, and nothing the wrong way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import aruba_fast
import aruba_fast_reproductions

FOLDERS = [Path(p.__file__).parent for p in (aruba_fast, aruba_fast_reproductions)]
# A package that hands out what its modules define comes after them; a module that asks for
# `from . import _check` needs that module, not what the package hands out.
NATIVE = {"aruba_fast._core", "aruba_fast._cuda"}


def modules():
    """Every module of the distribution by its name: its file, and whether it is a package."""
    found = {}
    for folder in FOLDERS:
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            found[".".join(parts[:-1] if is_package else parts)] = (path, is_package)
    return found


MODULES = modules()


def names(node, module, is_package):
    """The modules that one import statement may import, before it is known which are there."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    base = module.split(".")
    if node.level:
        base = base[: len(base) + is_package - node.level]
        base += node.module.split(".") if node.module else []
    else:
        base = node.module.split(".")
    home = ".".join(base)
    within = {f"{home}.{alias.name}" for alias in node.names}
    known = within & (MODULES.keys() | NATIVE)
    return known | ({home} if known != within else set())


@cache
def imported(module):
    """Modules of the distribution that a module imports anywhere in its text."""
    path, is_package = MODULES[module]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= names(node, module, is_package)
    return found & MODULES.keys()


def circle(graph):
    """The modules along a circle, or None."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_no_modules_import_each_other():
    assert len(MODULES) > 100
    assert circle({module: imported(module) for module in MODULES}) is None


def test_a_circle_would_be_found(monkeypatch, tmp_path):
    """Also one for type checkers alone, and one through a package."""
    for name, text in (
        ("one", "if TYPE_CHECKING:\n    from .two import x"),
        ("two", "def f():\n    from . import three"),
        ("three", "import aruba_fast.one"),
    ):
        (tmp_path / name).write_text(text)
        monkeypatch.setitem(MODULES, f"aruba_fast.{name}", (tmp_path / name, False))
    graph = {
        f"aruba_fast.{name}": imported(f"aruba_fast.{name}") for name in ("one", "two", "three")
    }
    assert set(circle(graph)) == set(graph)
    assert imported.__wrapped__("aruba_fast._ruled") >= {"aruba_fast.rules", "aruba_fast._arrays"}


def test_the_library_does_not_know_the_reproductions():
    knowing = {
        module
        for module in MODULES
        if any(name.startswith("aruba_fast_reproductions") for name in imported(module))
    }
    assert knowing
    assert all(module.startswith("aruba_fast_reproductions") for module in knowing)


def printed(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("name", "title"), [("torch", "PyTorch"), ("jax", "JAX"), ("sklearn", "scikit-learn")]
)
def test_a_framework_is_imported_by_its_name_alone_and_else_asked_for_in_one_sentence(name, title):
    assert printed(f"import sys, aruba_fast; print('{name}' in sys.modules)") == "False"
    code = (
        f"import sys; sys.modules['{name}'] = None\n"
        f"try: import aruba_fast.{name}\n"
        "except ImportError as error: print(error)"
    )
    assert printed(code) == (
        f"aruba_fast.{name}: {title} must be installed: got no module named '{name}', "
        f"expected it from pip install 'aruba_fast[{name}]'"
    )


# A user has none of them, CI all.
WITHOUT_FRAMEWORKS = """
import sys
import pytest

NAMES = "torch jax jaxlib optax pyarrow polars pfl flwr ray dask distributed dp_accounting".split()

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in NAMES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
raise SystemExit(pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""
TESTS = Path(__file__).parent


def without_frameworks(*arguments):
    env = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-c", WITHOUT_FRAMEWORKS, *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_tests_are_collected_without_frameworks():
    run = without_frameworks("--collect-only", TESTS)
    assert run.returncode == 0, run.stdout[-2000:]
    assert "no torch" in run.stdout
    assert "no jax" in run.stdout
    assert "no pyarrow" in run.stdout


@pytest.mark.slow
def test_what_tests_that_ask_for_frameworks_stand_on_needs_none():
    """Their fixtures are set up, or the files skipped; no test is run."""
    asking = [path for path in TESTS.glob("test_*.py") if "need(" in path.read_text()]
    assert len(asking) > 20
    run = without_frameworks("--setup-only", *asking)
    assert run.returncode == 0, run.stdout[-2000:]
    assert " skipped" in run.stdout


def test_importing_needs_numpy_alone():
    code = (
        "import sys, aruba_fast as af; [getattr(af, name) for name in dir(af)]; af.datasets.Table; "
        # Debian's Python imports its own sitecustomize.
        "known = {'numpy', 'safetensors', 'aruba_fast', 'sitecustomize'}; "
        "known |= set(sys.stdlib_module_names); "
        "print(sorted({name.partition('.')[0] for name in sys.modules if not name.startswith('_')}"
        " - known))"
    )
    assert printed(code) == "[]"
