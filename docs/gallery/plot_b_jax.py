"""
The same in JAX: what eight steps are worth
===========================================

In JAX a task is a function, and a hundred tasks are that function under `vmap`. We meta-learn a
small network from a thousand sine waves, and look at what each of the eight steps on a new wave is
worth: from random weights at one rate, and from the learned start at the learned rates.

This is the tutorial `JAX and NumPy <../jax.html>`__ in one file.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import aruba_fast.jax as aj


def make_task(key):
    """Eight batches of twenty points of a wave; amplitude and phase are the task's own."""
    key, amplitude, phase = jax.random.split(key, 3)
    x = jax.random.uniform(key, (8, 20, 1), minval=-5.0, maxval=5.0)
    amplitude, phase = 0.1 + 4.9 * jax.random.uniform(amplitude), 3.14 * jax.random.uniform(phase)
    return x / 5, amplitude * jnp.sin(x + phase)


def loss(theta, x, y):
    prediction = jax.nn.relu(x @ theta["w1"] + theta["b1"]) @ theta["w2"] + theta["b2"]
    return jnp.square(prediction - y).mean()


def run_task(phi, inner, batches):
    """A step of `inner` for every batch; the losses are those before each step."""

    def step(carry, batch):
        theta, state = carry
        updates, state = inner.update(jax.grad(loss)(theta, *batch), state, theta)
        return (jax.tree.map(jnp.add, theta, updates), state), loss(theta, *batch)

    return jax.lax.scan(step, (phi, inner.init(phi)), batches)


# %%
# A round is five tasks side by side. Their results are the final parameters and the sums of the
# squared gradients, which `aj.ogd` keeps in its state.


def run_round(phi, learning_rate, tasks):
    def run(batches):
        (theta_hat, state), _ = run_task(phi, aj.ogd(learning_rate), batches)
        return theta_hat, state.grad_sq

    return jax.vmap(run)(tasks)


@jax.jit
def learn(meta, tasks):
    theta_hat, grad_sq = run_round(meta.phi, meta.learning_rate, tasks)
    return aj.apply(meta, aj.statistics(meta, theta_hat, grad_sq))


def some_tasks(seed, n_tasks):
    return jax.vmap(make_task)(jax.random.split(jax.random.key(seed), n_tasks))


keys = jax.random.split(jax.random.key(0), 3)
params = {
    "w1": jax.random.normal(keys[0], (1, 40)),
    "b1": jax.random.normal(keys[1], 40),
    "w2": jax.random.normal(keys[2], (40, 1)) / 40**0.5,
    "b2": jnp.zeros(1),
}
tasks = some_tasks(1, 20)
first = aj.first_rate(aj.init(params), jax.jit(lambda rate: run_round(params, rate, tasks)))
meta = first
for number in range(200):
    meta = learn(meta, some_tasks(100 + number, 5))

# %%
# Each batch is new, so that the error before a step is that of points which were not learned from.
# The learned start is better from the beginning, and gets further with every step.

new = some_tasks(2, 200)


def errors(state):
    return jax.vmap(lambda task: run_task(state.phi, aj.rule(state), task)[1])(new).mean(axis=0)


figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.plot(range(8), errors(first), "o--", label="random start, one rate")
axes.plot(range(8), errors(meta), "o-", label="learned start and rates, ARUBA++")
axes.set(xlabel="steps on a new wave", ylabel="squared error, mean of 200 waves", ylim=(0, None))
axes.legend()
plt.show()
