"""The documentation of `aruba_fast.torch` runs: its docstrings, and what importing it needs."""

from __future__ import annotations

import inspect
import re

import pytest
from documentation import run_examples
from torch_models import torch

import aruba_fast.torch as public

# Names of the version before, which say what they are called now.
OLD = {"learning_rates", "optimizer"}
OBJECTS = {
    f"{kind.__name__}{'.' * bool(member)}{member}": getattr(kind, member) if member else kind
    for kind in (public.MetaOptimizer, public.TaskOptimizer)
    for member in [
        "",
        *(
            name
            for name, value in inspect.getmembers(kind)
            if not name.startswith("_")
            and name not in OLD
            and inspect.getdoc(value)
            and any(
                name in vars(base)
                for base in kind.__mro__
                if base.__module__.startswith("aruba_fast")
            )
        ),
    ]
}


@pytest.mark.parametrize("name", OBJECTS)
def test_the_examples_of_a_docstring_run(name):
    torch.manual_seed(0)
    n_examples = run_examples(name, inspect.getdoc(OBJECTS[name]))
    called = callable(OBJECTS[name]) and not name.endswith(".add_param_group")
    assert n_examples or not called


@pytest.mark.parametrize("name", [name for name in OBJECTS if callable(OBJECTS[name])])
def test_every_parameter_is_documented(name):
    text = inspect.getdoc(OBJECTS[name])
    parameters = [p for p in inspect.signature(OBJECTS[name]).parameters if p != "self"]
    assert [p for p in parameters if not re.search(rf"^\s+{p}:", text, re.MULTILINE)] == []
