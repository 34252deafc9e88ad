"""
Nothing to tune: six decades of first rates
===========================================

With a learning rate that is ten times too small nothing is learned, and one that is ten times too
large destroys everything. So usually one has to search for a good rate. Here the same algorithm
runs on the same tasks with first rates from a millionth to one: once with this rate throughout, and
once with ARUBA, which changes it.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import aruba_fast as af

rng = np.random.default_rng(0)
x = rng.normal(size=(2000, 20, 8))
targets = 1 + np.linspace(0, 1, 8) * rng.normal(size=(2000, 8))
noise = 0.1 * rng.normal(size=(2000, 20))
tasks, new = af.Tasks(x, np.einsum("tmd,td->tm", x, targets) + noise).split(0.9)
few, others = new.shots(10)


def error(learner, rule):
    """Mean squared error on new tasks, after ten of their examples; nan where it diverged."""
    run = af.run_tasks(few, learner.phi, rule, loss="squared")
    return 2 * af.evaluate(others, run.theta_hat, loss="squared").mean()


# %%
# With a `zeta` so large that no data outweigh it, the rate never moves: ARUBA becomes Reptile.

first_rates = np.logspace(-6, 0, 19)
kept, moved = [], []
with warnings.catch_warnings():
    warnings.simplefilter("ignore", af.DivergenceWarning)  # the larger rates are too large
    for rate in first_rates:
        reptile = af.MetaLearner(np.zeros(8), learning_rate=rate, zeta=1e100)
        af.meta_train(tasks, reptile, loss="squared", n_passes=10)
        kept.append(error(reptile, af.OGD(rate)))
        learner = af.MetaLearner(np.zeros(8), learning_rate=rate)
        af.meta_train(tasks, learner, loss="squared", n_passes=10)
        moved.append(error(learner, learner.rule()))

automatic = af.MetaLearner(np.zeros(8))
af.meta_train(tasks, automatic, loss="squared", n_passes=10)

# %%
# The constant rate has a valley of one decade: left of it too little is learned, and right of it
# the tasks diverge. ARUBA copes with a first rate that is ten times too large. A rate that is far
# too small takes many tasks to grow, but even a millionth ends with a much smaller error. It is
# best to give no rate: then ARUBA begins with one that it computes from the rows.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.plot(first_rates, kept, "o--", label="the rate stays as it was given")
axes.plot(first_rates, moved, "o-", label="ARUBA moves it")
axes.axhline(error(automatic, automatic.rule()), color="k", lw=1, label="no rate given")
axes.set(xscale="log", yscale="log", ylim=(0.1, 100))
axes.set(xlabel="first learning rate", ylabel="squared error on new tasks")
axes.legend()
plt.show()
