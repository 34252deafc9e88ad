"""Pairs of float32 that stand for float64 in JAX: every instruction set writes the same ones."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from jax_models import aj, jax, jnp

import aruba_fast as af
from aruba_fast.jax import _native

pytestmark = pytest.mark.skipif(not _native.IS_BUILT, reason="built without jaxlib")

# A round of five tasks, one of which is left out: sums, a step by them and a step at once.
CODE = """
import hashlib, sys
import jax, numpy as np, aruba_fast as af, aruba_fast.jax as aj
rng, found = np.random.default_rng(0), hashlib.sha256()
for n in (1, 7, 8, 9, 255, 256, 257, 20_000):
    phi = rng.standard_normal(n).astype(np.float32)
    hats = (phi + rng.standard_normal((5, n)) * 10.0 ** rng.integers(-20, 15, n)).astype(np.float32)
    squares = rng.random((5, n), np.float32)
    hats[2, n // 2] = np.nan
    state = aj.init(phi, learning_rate=0.5)
    part = aj.statistics(state, hats, squares)
    told = part, aj.apply(state, part), aj.update(state, hats, squares)
    for leaf in jax.tree.leaves(told):
        found.update(np.asarray(leaf).tobytes())
print(af.info()["isa"], found.hexdigest())
"""


def digest(isa: str, n_threads: int) -> str:
    chosen = {"ARUBA_ISA": isa, "ARUBA_NUM_THREADS": str(n_threads)}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ | chosen,
        capture_output=True,
        text=True,
        check=True,
    )
    ran, found = done.stdout.split()
    assert ran == isa
    return found


def test_every_instruction_set_and_number_of_threads_writes_the_same_pairs():
    isas = af.info()["isas"]
    found = {digest(isa, n) for isa, n in [*((isa, 1) for isa in isas), (isas[-1], 2)]}
    assert len(found) == 1


def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest float32 and what is left; a rest that would round the pair's sum is shortened."""
    high = x.astype(np.float32)
    rest = (x - high).astype(np.float32)
    return high, np.where(high + rest == high, rest, rest * np.float32(1 - 2.0**-24))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 15, 16, 17, 255, 256, 257, 4097])
def test_b_and_g_are_the_pairs_of_numpys(n, rng):
    phi = rng.standard_normal(n).astype(np.float32)
    hats, squares = phi + rng.standard_normal((3, n), np.float32), rng.random((3, n), np.float32)
    learner = af.MetaLearner(phi, learning_rate=1.0, zeta=1.0)
    learner.update(af.TaskRun(hats, squares))
    state = aj.update(aj.init(jnp.asarray(phi), learning_rate=1.0, zeta=1.0), hats, squares)
    leaves = jax.tree.leaves(state)
    for name, (high, low) in {"b": leaves[0:2], "g": leaves[2:4]}.items():
        expected = split(getattr(learner, name))
        np.testing.assert_array_equal(high, expected[0], name)
        np.testing.assert_array_equal(low, expected[1], name)
    # A state keeps -1 where there is no ratio, for want of a gradient.
    squares[:, 0], hats[:, -1] = 0.0, phi[-1]
    state = aj.update(aj.init(jnp.asarray(phi), learning_rate=1.0, zeta=1.0), hats, squares)
    rho = jax.tree.leaves(state)[7]
    assert rho[0] == -1.0
    assert np.isfinite(rho).all()
    np.testing.assert_array_equal(np.isnan(state.rho), rho == -1.0)
