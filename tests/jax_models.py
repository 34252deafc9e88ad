"""Small networks of every kind as plain functions, and NumPy's learner told their gradients."""

from __future__ import annotations

from functools import cache

import numpy as np
from cases import smoothed
from optional import need

import aruba_fast as af

jax = need("jax")
import aruba_fast.jax as aj  # noqa: E402

jnp, lax = jax.numpy, jax.lax


def mlp(theta, x):
    return jnp.tanh(x @ theta["w1"] + theta["b1"]) @ theta["w2"] + theta["b2"]


def conv(theta, x):
    """One convolution, one number that scales it."""
    y = lax.conv(x, theta["kernel"], (1, 1), "VALID") * theta["scale"]
    return jax.nn.relu(y).reshape(len(x), -1) @ theta["head"]


def lstm(theta, x):
    """A layer over 6 characters: the last output predicts."""

    def cell(state, character):
        h, c = state
        gates = theta["characters"][character] @ theta["w"] + h @ theta["u"] + theta["bias"]
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), None

    zero = jnp.zeros((len(x), theta["u"].shape[0]), theta["u"].dtype)
    return lax.scan(cell, (zero, zero), x.T)[0][0] @ theta["head"]


def tied(theta, x):
    """Input and output embeddings are one parameter; `unused` never gets a gradient."""
    return (theta["characters"][x].mean(1) @ theta["characters"].T)[:, :3] + theta["bias"]


def embedding(theta, x):
    """A table of which a task reads few rows, in a list as the tree."""
    return theta[0][x].mean(1) @ theta[1][0]


SHAPES = {
    "mlp": (mlp, {"w1": (5, 8), "b1": (8,), "w2": (8, 3), "b2": (3,)}, "vector"),
    "conv": (conv, {"kernel": (4, 1, 3, 3), "scale": (), "head": (64, 3)}, "image"),
    "lstm": (
        lstm,
        {"characters": (11, 5), "w": (5, 28), "u": (7, 28), "bias": (28,), "head": (7, 3)},
        "text",
    ),
    "tied": (tied, {"characters": (11, 3), "bias": (3,), "unused": (4,)}, "text"),
    "embedding": (embedding, [(40, 3), ((3, 3),)], "text"),
}


def parameters(name, rng, dtype=np.float32):
    tree = SHAPES[name][1]
    is_shape = lambda node: isinstance(node, tuple) and all(isinstance(n, int) for n in node)  # noqa: E731
    return jax.tree.map(
        lambda shape: jnp.asarray(0.5 * rng.standard_normal(shape), dtype), tree, is_leaf=is_shape
    )


def batch(kind, rng, dtype=np.float32):
    """Inputs and labels of 6 rows."""
    make = {
        "vector": lambda: rng.standard_normal((6, 5)).astype(dtype),
        "image": lambda: rng.standard_normal((6, 1, 6, 6)).astype(dtype),
        "text": lambda: rng.integers(11, size=(6, 6)),
    }
    return jnp.asarray(make[kind]()), jnp.asarray(rng.integers(3, size=6))


@cache
def gradient(name):
    """The compiled gradient of the cross-entropy of a model."""
    model = SHAPES[name][0]

    def loss(theta, x, y):
        log_p = jax.nn.log_softmax(model(theta, x).astype(jnp.float32))
        return -log_p[jnp.arange(len(y)), y].mean()

    return jax.jit(jax.grad(loss))


def flat(tree):
    """The leaves row by row, as NumPy's learner has them."""
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)])


def rates_of(state):
    """The rate of every coordinate."""
    whole = jax.tree.map(lambda r, p: jnp.broadcast_to(r, p.shape), state.learning_rate, state.phi)
    return flat(whole)


def ulps(got, expected, beside=None):
    """The largest distance in ulp of what is expected, or of the largest of the arrays beside."""
    expected = np.asarray(expected, np.asarray(got).dtype)
    sizes = [np.abs(expected), *(np.abs(a) for a in beside or [])]
    unit = np.spacing(np.maximum.reduce(np.broadcast_arrays(*sizes)))
    both_nan = np.isnan(got) & np.isnan(expected)
    with np.errstate(invalid="ignore"):
        away = np.abs(np.float64(got) - np.float64(expected)) / np.float64(unit)
    return float(np.where(both_nan, 0.0, away).max())


def smoothed_state(phi, **hyper):
    """As `smoothed`, a state of JAX."""
    return aj.init(phi, **({"learning_rate": 1.0, "zeta": 1.0} | hyper))


def assert_learned(state, learners, limit=2.0, largest=None):
    """State and learners agree within 2 ulp of the parameters' type, phi of what it came from."""
    whole = [np.concatenate([np.atleast_1d(getattr(x, key)) for x in learners]) for key in "bg"]
    phi = np.concatenate([x.phi for x in learners])
    rate = np.concatenate([np.broadcast_to(x.learning_rate, x.phi.shape) for x in learners])
    rho = np.concatenate([x.rho for x in learners])
    found = {
        "phi": ulps(flat(state.phi), phi, largest),
        "learning_rate": ulps(rates_of(state), rate.astype(phi.dtype)),
        "b": ulps(flat(state.b), whole[0]),
        "g": ulps(flat(state.g), whole[1]),
    }
    if largest is None:
        found["rho"] = ulps(flat(state.rho), rho)
    else:  # a ratio of differences, which the last digits of the iterates change
        np.testing.assert_allclose(flat(state.rho), rho, rtol=1e-4)
    assert max(found.values()) <= limit, found
    assert int(state.n_tasks) == learners[0].n_tasks
    assert int(state.n_skipped) == learners[0].n_skipped
    return found


class Twin:
    """`MetaLearner`s of NumPy that are told the gradients of a model and nothing else."""

    def __init__(self, phi, tensors=False, **hyper):
        parts = jax.tree.leaves(phi) if tensors else [phi]
        self.learners = [smoothed(flat(part), **hyper) for part in parts]
        self.ends = np.cumsum([len(x.phi) for x in self.learners])[:-1]
        self.runs = []

    def start(self):
        self.theta = [x.phi.copy() for x in self.learners]
        self.grad_sq = [np.zeros_like(x.phi) for x in self.learners]

    def step(self, grad):
        for k, part in enumerate(np.split(flat(grad), self.ends)):
            rate = self.learners[k].learning_rate
            af.step(self.theta[k], part, rate, grad_sq=self.grad_sq[k])

    def end(self):
        self.runs.append((self.theta, self.grad_sq))

    def update(self, weights, meta_step):
        for k, learner in enumerate(self.learners):
            theta, grad_sq = (np.stack([run[i][k] for run in self.runs]) for i in (0, 1))
            learner.update(af.TaskRun(theta, grad_sq), weights=weights, meta_step=meta_step)
        self.runs = []


def scanned(inner):
    """A whole task under scan: last iterate and state."""

    def run(phi, grads):
        def step(carry, grad):
            theta, state = carry
            updates, state = inner.update(grad, state, theta)
            return (theta + updates, state), None

        return lax.scan(step, (phi, inner.init(phi)), grads)[0]

    return run


def train(state, name, rng, *, twin, n_rounds=3, n_steps=3, meta_step=0.5):
    """Rounds of three tasks; the twin goes along and is compared at every step."""
    weights, kind, dtype = np.array([1.0, 2.0, 0.5]), SHAPES[name][2], state.layout.dtype
    worst = {}
    for _ in range(n_rounds):
        inner, runs, sizes = aj.ogd(state.learning_rate), [], []
        for _ in weights:
            theta, at = state.phi, inner.init(state.phi)
            largest = np.abs(flat(theta))
            twin.start()
            for _ in range(n_steps):
                grad = gradient(name)(theta, *batch(kind, rng, dtype))
                updates, at = inner.update(grad, at, theta)
                theta = jax.tree.map(jnp.add, theta, updates)
                twin.step(grad)
                expected = [np.concatenate(parts) for parts in (twin.theta, twin.grad_sq)]
                assert ulps(flat(theta), expected[0], [largest]) <= 2
                largest = np.maximum(largest, np.abs(flat(theta)))
                assert ulps(flat(at.grad_sq), expected[1]) <= 2
            twin.end()
            runs.append((theta, at.grad_sq))
            sizes.append(largest)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)
        found = aj.statistics(state.phi, *stacked, weights)
        state = aj.apply(state, found, meta_step)
        twin.update(weights, meta_step)
        for key, value in assert_learned(state, twin.learners, largest=sizes).items():
            worst[key] = max(value, worst.get(key, 0.0))
    return state, worst
