"""
Nothing to tune: six decades of first rates
===========================================

A learning rate that is ten times too small learns nothing, one that is ten times too large destroys
everything. Whoever has no rate for which both are avoided has to search. Here we give the same
tasks to the same algorithm with first rates from a millionth to one, once with the rate left as it
was given, and once with ARUBA, which moves it.
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
# A smoothing that no data can outweigh holds the rate where it is: then what is left is Reptile.

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
# The rate that is kept has a valley of one decade: left of it too little is learned, and right of
# it the tasks diverge. ARUBA does not mind a first rate that is ten times too large. One that is
# far too small it has to outgrow, which takes many tasks, but even a millionth ends much lower.
# Best is to give none: then it begins with a rate that it reads off the rows.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.plot(first_rates, kept, "o--", label="the rate stays as it was given")
axes.plot(first_rates, moved, "o-", label="ARUBA moves it")
axes.axhline(error(automatic, automatic.rule()), color="k", lw=1, label="no rate given")
axes.set(xscale="log", yscale="log", ylim=(0.1, 100))
axes.set(xlabel="first learning rate", ylabel="squared error on new tasks")
axes.legend()
plt.show()
