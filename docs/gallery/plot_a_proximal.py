"""
Proximal, or descent?
=====================

There are two ways to adapt to a new task. Descent takes one step for every example, at the learned
rates; it works for networks too. The proximal rule solves for the best parameters near the start,
where the learned rates say what "near" means for each coordinate. It learns more from every
example, but needs a linear model. How much more?
"""

import matplotlib.pyplot as plt
import numpy as np

import aruba_fast as af

rng = np.random.default_rng(0)
spread = np.linspace(0, 1, 6)
x = rng.normal(size=(1200, 40, 6))
targets = 1 + spread * rng.normal(size=(1200, 6))
y = np.einsum("tmd,td->tm", x, targets) + 0.5 * rng.normal(size=(1200, 40))
everybody = af.Tasks(x, y)
seen, new = everybody[:900], everybody[900:]
first_rows, _ = seen.shots(20)  # training has twenty examples of each task
_, others = new.shots(20)

# %%
# Both are learned from the same tasks, with nothing to choose.

learner = af.MetaLearner(np.zeros(6))
af.meta_train(first_rows, learner, loss="squared", n_passes=3)
fit = af.meta_fit(first_rows, loss="squared")

# %%
# A step uses an example once and forgets it, while the proximal rule sees all examples at once. If
# descent visits every example five times, most of the difference is gone.

shots = [1, 2, 3, 5, 7, 10, 14, 20]


def errors(phi, rule, **options):
    """Squared error on twenty other examples, after so many."""
    runs = (af.run_tasks(new.shots(k)[0], phi, rule, loss="squared", **options) for k in shots)
    return [2 * af.evaluate(others, run.theta_hat, loss="squared").mean() for run in runs]


figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.plot(shots, errors(learner.phi, learner.rule()), "o--", label="descent, ARUBA++")
axes.plot(
    shots,
    errors(learner.phi, learner.rule(), n_epochs=5),
    "o:",
    label="the same, every example five times",
)
axes.plot(shots, errors(fit.phi, fit.rule()), "s-", label="proximal rule")
axes.axhline(0.25, color="grey", lw=1, label="noise, which nobody can predict")
axes.set(
    xscale="log",
    yscale="log",
    xticks=shots,
    xticklabels=shots,
    yticks=[0.3, 0.5, 1, 2],
    yticklabels=[0.3, 0.5, 1, 2],
)
axes.minorticks_off()
axes.set(xlabel="examples of a new task", ylabel="squared error on others")
axes.legend()
plt.show()
