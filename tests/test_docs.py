"""What the documentation shows runs: the examples of every docstring, the code of the pages."""

from __future__ import annotations

import inspect
import re

import pytest
from documentation import PAGES, require_page, run_examples, run_page

import aruba_fast as af

PUBLIC = {name: getattr(af, name) for name in af.__all__}
for package in (af.theory, af.federated):
    home = package.__name__.removeprefix("aruba_fast.")
    PUBLIC |= {f"{home}.{name}": getattr(package, name) for name in package.__all__}


def documented():
    """Every public object and every public method or property that it defines, by dotted name."""
    found = {}
    for name, public in PUBLIC.items():
        found[name] = public
        if inspect.isclass(public) and not issubclass(public, Exception):
            for member, value in inspect.getmembers(public):
                own = any(member in vars(base) for base in public.__mro__[:-1])
                if own and not member.startswith("_") and inspect.getdoc(value):
                    found[f"{name}.{member}"] = value
    return found


OBJECTS = documented()


def signature_and_text(name):
    """The parameters of a public object, and its docstring without pybind11's lines for them."""
    public, text = OBJECTS[name], inspect.getdoc(OBJECTS[name])
    if public is af.CudaError:
        return [], text
    if inspect.isbuiltin(public):
        overloads = list(re.finditer(rf"^\d\. {name}\(", text, re.MULTILINE))
        if overloads:  # the last one has every parameter, and the text
            text = text[overloads[-1].start() :]
        line, _, text = text.partition("\n")
        return re.findall(r"(\w+): ", line), text.strip()
    return list(inspect.signature(public).parameters), text


@pytest.mark.parametrize("name", OBJECTS)
def test_the_examples_of_a_docstring_run(name):
    """Also those of native functions, which doctest's own finder passes over."""
    n_examples = run_examples(name, inspect.getdoc(OBJECTS[name]))
    # A hyperparameter's property or the list of losses needs no example; what is called does.
    is_called = inspect.isroutine(OBJECTS[name]) or inspect.isclass(OBJECTS[name])
    by_itself = {"CudaError", "get_num_threads", "info", "History", "MetaLearner.load"}
    by_itself |= {"theory.FullMatrixRun", "theory.Hindsight", "theory.TransferRisk"}
    by_itself |= {"federated.Report"}
    assert n_examples or not is_called or name in by_itself


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_object_has_a_docstring_of_sections(name):
    parameters, text = signature_and_text(name)
    assert text.split("\n")[0].endswith("."), "the first line is one sentence"
    assert re.search(r"^(Args|Attributes):", text, re.MULTILINE) or not parameters


@pytest.mark.parametrize(
    "name",
    sorted(
        set(PUBLIC)
        - {"CudaError", "info", "get_num_threads", "show_versions", "theory.MetaAverage"}
    ),
)
def test_every_parameter_is_documented(name):
    """Every name of the signature stands in the `Args` (or `Attributes`) of the docstring."""
    parameters, text = signature_and_text(name)
    assert parameters
    missing = [p for p in parameters if not re.search(rf"^\s+{p}:", text, re.MULTILINE)]
    assert missing == []


@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_runs(name, request):
    run_page(name, request)


@pytest.mark.parametrize(
    ("name", "learns"),
    [
        ("README.md", "meta_train"),
        ("docs/theory.md", "meta_train"),
        ("docs/data.md", "meta_train"),
        ("docs/people.md", "sklearn._people.People.adapt"),
        ("docs/torch.md", "torch.MetaOptimizer.step"),
        ("docs/torch.md", "torch.TaskOptimizer.step"),
        ("docs/jax.md", "jax.apply"),
        ("docs/jax.md", "MetaLearner.update"),
    ],
)
def test_a_page_sees_that_nothing_is_learned(name, learns, request, monkeypatch):
    """Its asserts are about a gain: without the work there is none, and perhaps no first rate."""
    require_page(name)
    monkeypatch.setattr(f"aruba_fast.{learns}", lambda first, *_, **__: first)
    with pytest.raises((AssertionError, RuntimeError, ValueError)) as seen:
        run_page(name, request)
    known = ("first learning rate must be known", "tasks must tell the first rate")
    assert seen.type is AssertionError or any(text in str(seen.value) for text in known)
