"""Messages say "a ufunc" and "an int": the article goes with how a type's name is read."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

import aruba_fast as af
from aruba_fast._check import shown


def named(name):
    return type(name, (), {})()


ARTICLES = [
    (np.add, "a ufunc"),
    (np.uint8(3), "a uint8"),
    (np.uint64(3), "a uint64"),
    (np.int8(3), "an int8"),
    (3, "an int"),
    (np.float32(3), "a float32"),
    (np.bool_(True), "a bool"),
    ("text", "a str"),
    (np.zeros(2), "an ndarray"),
    ({}, "a dict"),
    (object(), "an object"),
    (OSError(), "an OSError"),
    (UnicodeError(), "a UnicodeError"),
    (UserWarning(), "a UserWarning"),
    (uuid.UUID(int=1), "a UUID"),
    (named("Unit"), "a Unit"),
    (named("Unknown"), "an Unknown"),
    (named("Undefined"), "an Undefined"),
    (named("Uniform"), "a Uniform"),
    (named("Upper"), "an Upper"),
    (named("Euclidean"), "a Euclidean"),
    (named("OneHot"), "a OneHot"),
    (named("Only"), "an Only"),
    (named("_Element"), "an _Element"),
    (named("_"), "a _"),
    (named("Unimportant"), "an Unimportant"),
    (named("XMLFile"), "an XMLFile"),
    (named("Xarray"), "a Xarray"),
]


@pytest.mark.parametrize(("value", "expected"), ARTICLES, ids=[e for _, e in ARTICLES])
def test_the_article_goes_with_the_name(value, expected):
    kind = type(value).__name__
    assert kind in expected
    told = shown(value)
    article = expected.partition(" ")[0]
    assert f"{article} {kind}" in told
    other = {"a": "an", "an": "a"}[article]
    assert f" {other} {kind}" not in f" {told}"


def test_a_refusal_has_the_right_article():
    with pytest.raises(TypeError, match="`zeta` must be a real number: got a ufunc"):
        af.MetaLearner(np.zeros(2), learning_rate=1.0, zeta=np.add)
