"""What the rules of `aruba_fast.jax` refuse, each with its message, at trace time too."""

from __future__ import annotations

import re

import numpy as np
import pytest
from jax_models import aj, jnp

PHI = {"a": jnp.ones((2, 3)), "b": jnp.ones(2)}
OTHER = {"a": jnp.ones((2, 3))}


def used(inner, updates, params=None, start=PHI):
    return inner.update(updates, inner.init(start), params)


def changed(tree, **leaves):
    return {**tree, **leaves}


SGD = aj.ogd(0.1)

CALLS = [
    (
        lambda: aj.ogd("fast"),
        TypeError,
        "ogd: `learning_rate` must be a real number: got 'fast', a str, expected a float",
    ),
    (
        lambda: aj.ogd(-0.1),
        ValueError,
        "ogd: `learning_rate` must not be negative: got -0.1",
    ),
    (
        lambda: aj.aruba_plus_plus(0.0, 1.0, 0.1),
        ValueError,
        "aruba_plus_plus: `b` must be positive: got 0.0",
    ),
    (
        lambda: aj.aruba_plus_plus(1.0, np.inf, 0.1),
        ValueError,
        "aruba_plus_plus: `g` must be finite: got inf",
    ),
    (
        lambda: aj.aruba_plus_plus(1.0, 1.0, -1.0),
        ValueError,
        "aruba_plus_plus: `coef` must not be negative: got -1.0",
    ),
    (
        lambda: aj.aruba_plus_plus(1.0, 1.0, jnp.ones(2)),
        ValueError,
        "aruba_plus_plus: `coef` must be one number: got shape (2,), expected ()",
    ),
    (
        lambda: aj.aruba_plus_plus(1.0, 1.0, np.ones(2)),
        ValueError,
        "aruba_plus_plus: `coef` must be one number: got shape (2,), expected ()",
    ),
    (
        lambda: aj.ogd(changed(PHI, a=np.full((2, 3), -1.0))),
        ValueError,
        "ogd: `learning_rate` must be finite and >= 0 everywhere: got -1.0 at 0",
    ),
    (
        lambda: SGD.init(jnp.ones(2, int)),
        TypeError,
        "ogd: `params` must be floating point: got int32",
    ),
    (
        lambda: used(SGD, OTHER),
        ValueError,
        "ogd: `updates` must be a tree as `state.grad_sq`: got PyTreeDef({'a': *})",
    ),
    (
        lambda: used(SGD, changed(PHI, b=jnp.ones(3))),
        ValueError,
        "ogd: `updates` must have the right shape: got (3,), expected (2,)",
    ),
    (
        lambda: used(SGD, changed(PHI, b=jnp.ones(2, int))),
        TypeError,
        "ogd: `updates` must be floating point: got int32",
    ),
    (
        lambda: used(SGD, PHI, OTHER),
        ValueError,
        "ogd: `params` must be a tree as `updates`: got PyTreeDef({'a': *}), expected",
    ),
    (
        lambda: used(SGD, PHI, changed(PHI, a=jnp.ones(3))),
        ValueError,
        "ogd: `params` must have the right shape: got (3,), expected (2, 3)",
    ),
    (
        lambda: used(SGD, PHI, changed(PHI, a=jnp.ones((2, 3), jnp.bfloat16))),
        TypeError,
        "ogd: `params` must be of full precision, lest small steps are lost: got bfloat16",
    ),
    (
        lambda: used(aj.ogd(OTHER), PHI),
        ValueError,
        "ogd: `learning_rate` must be a tree as `updates`: got PyTreeDef({'a': *})",
    ),
    (
        lambda: used(aj.ogd(changed(PHI, a=jnp.ones(3))), PHI),
        ValueError,
        "ogd: `learning_rate` must have the shape of `updates`, or none: got (3,)",
    ),
    (
        lambda: aj.step(PHI, OTHER, 0.1, grad_sq=PHI),
        ValueError,
        "step: `grad` must be a tree as `grad_sq`: got PyTreeDef({'a': *}), expected",
    ),
    (
        lambda: aj.step(PHI, PHI, 0.1, grad_sq=changed(PHI, b=jnp.ones(3))),
        ValueError,
        "step: `grad` must have the right shape: got (2,), expected (3,)",
    ),
    (
        lambda: aj.step(PHI, PHI, changed(PHI, b=jnp.ones(3)), grad_sq=PHI),
        ValueError,
        "step: `learning_rate` must have the shape of `theta`, or none: got (3,)",
    ),
    (
        lambda: aj.step(changed(PHI, b=jnp.ones(2, jnp.float16)), PHI, 0.1, grad_sq=PHI),
        TypeError,
        "step: `theta` must be of full precision, as the parameters: got float16, expected float32",
    ),
    (
        lambda: aj.step(PHI, PHI, 0.1, grad_sq=changed(PHI, b=jnp.ones(2, int))),
        TypeError,
        "step: `grad_sq` must be of full precision, as the parameters: got int32",
    ),
    (
        lambda: aj.step(PHI, PHI, -0.1, grad_sq=PHI),
        ValueError,
        "step: `learning_rate` must not be negative: got -0.1",
    ),
    (
        lambda: aj.aruba_step(PHI, PHI, 1.0, OTHER, coef=1.0),
        ValueError,
        "aruba_step: `g` must be a tree as `theta`: got PyTreeDef({'a': *}), expected",
    ),
    (
        lambda: aj.aruba_step(PHI, PHI, 1.0, PHI, coef=-1.0),
        ValueError,
        "aruba_step: `coef` must not be negative: got -1.0",
    ),
    (
        lambda: aj.aruba_plus_plus(PHI, OTHER, 0.1).init(PHI),
        ValueError,
        "aruba_plus_plus: `g` must be a tree as `params`: got",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), CALLS, ids=range(len(CALLS)))
def test_refused_calls(call, kind, message):
    with pytest.raises(kind, match="^" + re.escape(message)):
        call()
