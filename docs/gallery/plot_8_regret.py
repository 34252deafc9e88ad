"""
Regret, and the bound that ARUBA minimizes
==========================================

The regret of a task is what the learner lost more than somebody who knew the best parameters from
the beginning. Nobody can minimize it beforehand, but it has an upper bound that depends on where
the task started and on how fast it moved. ARUBA minimizes this bound, averaged over the tasks. Here
are both for two hundred new tasks, before and after learning.
"""

import matplotlib.pyplot as plt
import numpy as np

import aruba_fast as af
from aruba_fast.theory import best_in_hindsight, regret, regret_upper_bound

rng = np.random.default_rng(0)
x = rng.normal(size=(800, 30, 3))
targets = np.array([1.0, -1.0, 2.0]) + np.array([0.1, 0.2, 0.6]) * rng.normal(size=(800, 3))
y = np.einsum("tmd,td->tm", x, targets) + 0.5 * rng.normal(size=(800, 30))
seen, new = af.Tasks(x, y).split(0.75)

learner = af.MetaLearner(np.zeros(3), bound="tight")
first_rate = learner.first_rate(seen, loss="squared")
af.meta_train(seen, learner, loss="squared")

# %%
# The best parameters in hindsight are found by a solver, to a gap that it certifies.

best = best_in_hindsight(new, loss="squared")


def pair(phi, rule):
    """Regret and its upper bound, task by task."""
    run = af.run_tasks(new, phi, rule, loss="squared")
    return regret(run, best), regret_upper_bound(run, best, phi, rule)


# %%
# Every point lies below the line: the bound holds for each task. Learning moves the points down
# and to the left, because it is the bound that is made small, and the regret has to follow.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
for label, phi, rule in (
    ("from zero, one rate", np.zeros(3), af.OGD(first_rate)),
    ("from the learned start, at learned rates", learner.phi, learner.rule(coef=None)),
):
    lost, bound = pair(phi, rule)
    assert (lost <= bound).all()
    axes.scatter(bound, lost, s=8, label=label)
axes.axline((1, 1), (2, 2), color="k", lw=1, label="regret = bound")
axes.set(xscale="log", yscale="log", xlabel="upper bound of a task", ylabel="its regret")
axes.legend()
plt.show()
