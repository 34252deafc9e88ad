"""The tensors that phi is joined of: each with a prior, and isotropic with a rate, of its own."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cases import fake_run

import aruba_fast as af


@pytest.mark.parametrize("isotropic", [False, True])
def test_a_tensor_without_a_gradient_gets_the_rate_of_the_average_one(isotropic, rng):
    sizes, silent = (5, 3, 600), slice(5, 8)
    learner = af.MetaLearner(np.zeros(608), tensors=sizes, isotropic=isotropic, learning_rate=0.5)
    run = fake_run(rng, 4, 608)
    run.theta_hat[:, silent] = run.grad_sq[:, silent] = 0.0
    learner.update(run)
    average = np.sqrt(learner.b.mean()) / np.sqrt(learner.g.mean())
    np.testing.assert_allclose(learner.learning_rate[silent], average, rtol=1e-14)
    rule = learner.rule()
    np.testing.assert_allclose(np.sqrt(rule.b / rule.g)[silent], average, rtol=1e-14)
    assert (learner.learning_rate[:5] != average).all()


BAD_TENSORS = (
    ((2, 2), {}, ValueError, r"`tensors` must be the sizes of all that `phi` holds: got 4 .* 3"),
    ((), {}, ValueError, "got 0 coordinates in 0, expected 3"),
    ((3, 0), {}, ValueError, "`tensors` must be"),
    ((1.5, 1.5), {}, TypeError, "`tensors` must be an integer"),
    ("3", {}, TypeError, "`tensors` must be sizes: got str"),
    (3, {}, TypeError, "`tensors` must be sizes: got int"),
    ((1, 2), {"zeta": 1.0}, ValueError, "must be None where `zeta` is a number.*got 2 of them"),
)


@pytest.mark.parametrize(("sizes", "hyper", "kind", "message"), BAD_TENSORS, ids=str)
def test_tensors_that_are_none(sizes, hyper, kind, message):
    with pytest.raises(kind, match=f"MetaLearner: .*{message}"):
        af.MetaLearner(np.zeros(3), learning_rate=1.0, tensors=sizes, **hyper)


def test_tensors_come_back_from_files_and_pickles(tmp_path, rng):
    learner = af.MetaLearner(np.zeros(19), tensors=[4, 1, 14], learning_rate=0.5)
    learner.update(fake_run(rng, 3, 19))
    learner.save(tmp_path / "learner.safetensors")
    others = [
        af.MetaLearner.load(tmp_path / "learner.safetensors"),
        pickle.loads(pickle.dumps(learner)),
        copy.deepcopy(learner),
    ]
    run = fake_run(rng, 3, 19)
    learner.update(run)
    for other in others:
        other.update(run)
        assert "tensors=(4, 1, 14)" in repr(other)
        np.testing.assert_array_equal(other.learning_rate, learner.learning_rate)
