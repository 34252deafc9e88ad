"""What older versions stored is read for ever; what a newer one stored is refused."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from cases import smoothed

import aruba_fast as af
from aruba_fast import _version
from aruba_fast._state import Hyperparameters

DATA = Path(__file__).parent / "data"
HYPER = {"learning_rate": 0.5, "decay": 0.25}
VALUES = {
    "OGD": af.OGD(np.array([0.5, 0.25])),
    "AdaGrad": af.AdaGrad(0.5, 2.0),
    "ArubaPlusPlus": af.ArubaPlusPlus(np.ones(2), np.ones(2), 0.5),
    "EG": af.EG(0.5),
    "Hyperparameters": Hyperparameters(**HYPER),
    "MetaLearner": smoothed(np.zeros(2), **HYPER),
}


def same_learner():
    """The learner of tests/data/values-1.pickle, learned anew."""
    learner = smoothed(np.zeros(2), **HYPER)
    learner.update(af.TaskRun([[1.0, 3.0], [2.0, 5.0]], [[1.0, 0.5], [4.0, 2.0]]))
    return learner


def test_pickles_of_before_they_told_a_version_load_for_ever():
    found = pickle.loads((DATA / "values-1.pickle").read_bytes())
    learner = same_learner()
    expected = VALUES | {"ArubaPlusPlus": learner.rule(0.5), "MetaLearner": learner}
    assert found.keys() == expected.keys()
    for name in ("phi", "b", "g", "learning_rate", "rho"):
        one, other = (getattr(each["MetaLearner"], name) for each in (found, expected))
        np.testing.assert_array_equal(one, other)
    for name in ("OGD", "AdaGrad", "ArubaPlusPlus", "EG", "Hyperparameters"):
        assert found[name] == expected[name], name
    assert not found["OGD"].learning_rate.flags.writeable
    assert repr(found["MetaLearner"]) == repr(learner)


@pytest.mark.parametrize("name", VALUES)
def test_pickles_of_a_newer_version_are_refused(name, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr(_version, "FORMAT", 2)
        newer.setattr("aruba_fast._learned.FORMAT", 2)
        data = pickle.dumps(VALUES[name])
    rule = f"^{name}: the pickle is refused: has format version 2, .*install a newer aruba_fast"
    with pytest.raises(ValueError, match=rule):
        pickle.loads(data)


def test_a_field_that_a_pickle_is_too_old_to_have_has_its_default():
    older = Hyperparameters.__new__(Hyperparameters)
    older.__setstate__({"learning_rate": 0.25, "zeta": 3.0})
    assert older == Hyperparameters(0.25, 3.0)
    assert asdict(older) == asdict(Hyperparameters(0.25, 3.0))


@pytest.mark.parametrize("name", VALUES)
def test_pickles_of_this_version_are_equal(name):
    again = pickle.loads(pickle.dumps(VALUES[name]))
    assert repr(again) == repr(VALUES[name])
    assert vars(again).keys() == vars(VALUES[name]).keys()
