"""What `aruba_fast.jax` refuses of a state and its rounds, each with its message."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cases import smoothed
from jax_models import aj, jax, jnp, smoothed_state
from test_jax_task_errors import OTHER, PHI, SGD, changed, used

import aruba_fast as af

STATE = smoothed_state(PHI)
HATS = jax.tree.map(lambda leaf: leaf[None], PHI)
LEARNER = smoothed(np.ones(8, np.float32))


CALLS = [
    (lambda: aj.init({}), ValueError, "init: `phi` must hold a coordinate: got 0 leaves"),
    (
        lambda: aj.init(jnp.ones((2, 0))),
        ValueError,
        "init: `phi` must hold a coordinate: got 1 leaves with 0 coordinates, expected at least 1",
    ),
    (
        lambda: aj.init(jnp.ones(2, int)),
        TypeError,
        "init: `phi` must be floating point: got int32, expected float32, float64, bfloat16 or",
    ),
    (
        lambda: aj.init(jnp.array([1.0, np.nan])),
        ValueError,
        "init: `phi` must be finite everywhere: got nan at 1, expected finite",
    ),
    (
        lambda: aj.init({"a": "text"}),
        TypeError,
        "init: `phi` must have arrays as leaves: got str (",
    ),
    (
        lambda: aj.init(PHI, isotropic="leaf"),
        ValueError,
        "init: `isotropic` must be known: got 'leaf', expected False, True or 'tensor'",
    ),
    (
        lambda: aj.init(PHI, isotropic=1),
        TypeError,
        "init: `isotropic` must be a bool: got 1, an int",
    ),
    (
        lambda: aj.init(PHI, learning_rate=0.0),
        ValueError,
        "init: `learning_rate` must be positive: got 0.0",
    ),
    (
        lambda: aj.init(PHI, decay=1.0),
        ValueError,
        "init: `decay` must be a fraction: got 1.0",
    ),
    (
        lambda: aj.init(PHI, zeta=1e13),
        ValueError,
        "init: `zeta` must have a square within pairs of float32: got 10000000000000.0, expected",
    ),
    (
        lambda: aj.init(PHI, learning_rate=1e-13, zeta=1.0),
        ValueError,
        "init: `learning_rate` times `zeta` must have a square within pairs of float32: got 1e-13",
    ),
    (
        lambda: aj.statistics(PHI, OTHER, HATS),
        ValueError,
        "statistics: `theta_hat` must be a tree as `phi`: got",
    ),
    (
        lambda: aj.statistics(PHI, HATS, PHI),
        ValueError,
        "statistics: `grad_sq` must have the right shape: got (2, 3), expected (1, 2, 3)",
    ),
    (
        lambda: aj.statistics(PHI, changed(HATS, b=jnp.ones((1, 3))), HATS),
        ValueError,
        "statistics: `theta_hat` must have the right shape: got (1, 3), expected (1, 2)",
    ),
    (
        lambda: aj.statistics(changed(PHI, a=jnp.ones((2, 3), jnp.float16)), HATS, HATS),
        TypeError,
        "statistics: `phi` must have the full precision of what is learned: got float16, expected",
    ),
    (
        lambda: aj.statistics(PHI, changed(HATS, b=jnp.ones((1, 2), int)), HATS),
        TypeError,
        "statistics: `theta_hat` must have the full precision of what is learned: got int32",
    ),
    (
        lambda: aj.statistics(PHI, HATS, HATS, [1.0, 2.0]),
        ValueError,
        "statistics: `weights` must have the right shape: got (2,), expected (1,)",
    ),
    (
        lambda: aj.statistics(PHI, HATS, HATS, [-1.0]),
        ValueError,
        "statistics: `weights` must be finite and >= 0 everywhere: got -1.0 at 0",
    ),
    (
        lambda: aj.statistics(PHI, HATS, HATS, ["one"]),
        TypeError,
        "statistics: `weights` must hold real numbers: got <U3",
    ),
    (
        lambda: aj.merge(STATE),
        TypeError,
        "merge: `stacked` must be TaskStatistics: got MetaState, expected TaskStatistics",
    ),
    (
        lambda: aj.apply(PHI, aj.statistics(PHI, HATS, HATS)),
        TypeError,
        "apply: `state` must be aruba_fast.jax.MetaState: got dict, expected what",
    ),
    (
        lambda: aj.update(PHI, HATS, HATS),
        TypeError,
        "update: `state` must be aruba_fast.jax.MetaState: got dict, expected what",
    ),
    (
        lambda: aj.update(STATE, HATS, PHI),
        ValueError,
        "update: `grad_sq` must have the right shape: got",
    ),
    (
        lambda: aj.update(STATE, HATS, HATS, np.array([-1.0, 1.0, 1.0])[: len(HATS["b"])]),
        ValueError,
        "update: `weights` must",
    ),
    (
        lambda: aj.update(STATE, HATS, HATS, meta_step=-0.5),
        ValueError,
        "update: `meta_step` must not be negative: got -0.5",
    ),
    (
        lambda: aj.apply(STATE, PHI),
        TypeError,
        "apply: `statistics` must be aruba_fast.jax.TaskStatistics: got dict, expected what",
    ),
    (
        lambda: aj.apply(STATE, aj.statistics(jnp.ones(3), jnp.ones(3), jnp.ones(3))),
        ValueError,
        "apply: `statistics` must have the right shape: got (3,), expected (8,)",
    ),
    (
        lambda: aj.apply(STATE, aj.statistics(PHI, HATS, HATS), -0.5),
        ValueError,
        "apply: `meta_step` must not be negative: got -0.5",
    ),
    (
        lambda: aj.apply(STATE, aj.statistics(PHI, HATS, HATS), "FedAvg"),
        TypeError,
        "apply: `meta_step` must be a real number: got 'FedAvg', a str",
    ),
    (
        lambda: aj.init(PHI, bound="loose"),
        ValueError,
        "init: `bound` must be known: got 'loose', a str, expected 'auto'",
    ),
    (
        lambda: aj.init(PHI, train="all"),
        ValueError,
        "init: `train` must be known: got 'all', a str, expected 'learned' or",
    ),
    (
        lambda: aj.init(PHI, learning_rate="best"),
        TypeError,
        "init: `learning_rate` must be a real number: got 'best'",
    ),
    (
        lambda: aj.rule(STATE, coef="best"),
        TypeError,
        "rule: `coef` must be a real number: got 'best'",
    ),
    (
        lambda: aj.rule(PHI),
        TypeError,
        "rule: `state` must be a MetaState: got dict, expected a MetaState",
    ),
    (
        lambda: aj.rule(STATE, coef=np.nan),
        ValueError,
        "rule: `coef` must be finite: got nan",
    ),
    (
        lambda: aj.to_learners(LEARNER),
        TypeError,
        "to_learners: `state` must be a MetaState: got MetaLearner, expected a MetaState",
    ),
    (
        lambda: aj.from_learners([STATE], PHI),
        TypeError,
        "from_learners: `learners` must be MetaLearners: got MetaState, expected a MetaLearner",
    ),
    (
        lambda: aj.from_learners(LEARNER, PHI),
        TypeError,
        "from_learners: `learners` must be a list: got MetaLearner, expected a list of",
    ),
    (
        lambda: aj.from_learners([af.MetaLearner(np.ones(8, np.float32), tensors=(4, 4))], PHI),
        ValueError,
        "from_learners: `phi` must have the leaves of the learner: got sizes [6, 2], expected",
    ),
    (
        lambda: aj.from_learners([], PHI),
        ValueError,
        "from_learners: `learners` must be of the size of `phi`: got [], expected [8] or [6, 2]",
    ),
    (
        lambda: aj.from_learners([smoothed(np.ones(8))], PHI),
        TypeError,
        "from_learners: `phi` must have the type of the learners: got float32, expected float64",
    ),
    (
        lambda: aj.from_learners([smoothed(np.ones(n, np.float32)) for n in (6, 2)], PHI),
        ValueError,
        "from_learners: `learners` must be one, or isotropic: got 2 with a rate a coordinate",
    ),
    (
        lambda: aj.from_learners(
            [
                smoothed(np.ones(6, np.float32), isotropic=True),
                smoothed(np.ones(2, np.float32), isotropic=True, zeta=2.0),
            ],
            PHI,
        ),
        ValueError,
        "from_learners: `learners` must have the same hyperparameters: got different ones",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), CALLS, ids=range(len(CALLS)))
def test_refused_calls(call, kind, message):
    with pytest.raises(kind, match="^" + re.escape(message)):
        call()


def test_types_that_do_not_go_together_with_float64():
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: leaf.astype(np.float64), PHI)
        rows = [
            (
                lambda: aj.init(changed(PHI, b=jnp.ones(2, np.float64))),
                "init: `phi` must have one type: got float64 beside float32, expected",
            ),
            (
                lambda: used(SGD, double),
                "ogd: `updates` must not be of more precision than the parameters: "
                "got float64, expected at most float32",
            ),
            (
                lambda: aj.apply(STATE, aj.statistics(PHI, HATS, HATS)),
                "apply: `statistics` must have sums of the type of the state: got float64, "
                "expected float32",
            ),
        ]
        for call, message in rows:
            with pytest.raises(TypeError, match="^" + re.escape(message)):
                call()


def test_shapes_are_refused_while_tracing():
    message = "statistics: `theta_hat` must have the right shape: got (1, 3), expected (1, 2)"
    with pytest.raises(ValueError, match=re.escape(message)):
        jax.jit(aj.statistics)(jnp.ones(2), jnp.ones((1, 3)), jnp.ones((1, 2)))
