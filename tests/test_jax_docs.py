"""The documentation of `aruba_fast.jax` runs: its docstrings, and what importing it needs."""

from __future__ import annotations

import inspect
import re

import pytest
from documentation import run_examples
from jax_models import aj

OBJECTS = {name: getattr(aj, name) for name in aj.__all__}


@pytest.mark.parametrize("name", OBJECTS)
def test_docstrings_are_whole(name):
    """The first line is a sentence, every parameter is described, the examples run."""
    text = inspect.getdoc(OBJECTS[name])
    assert text.split("\n")[0].endswith(".")
    parameters = inspect.signature(OBJECTS[name]).parameters
    assert [p for p in parameters if not re.search(rf"^\s+{p}:", text, re.MULTILINE)] == []
    # What functions return is a tuple with names, and shown where they are.
    assert run_examples(name, text) or hasattr(OBJECTS[name], "_fields")
