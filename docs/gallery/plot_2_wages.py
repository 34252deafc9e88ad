"""
Few years of a person, and what they are worth
==============================================

How well can you predict somebody's wage from a few of their years? We learn from 357
people and test on the other 238, each with one to four years to adapt on and three later years to
be tested on. Three rivals are shown: Reptile, which has the same gradients and one rate for all
coordinates; a mixed model with random slopes, the statistician's tool; and ARUBA.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import aruba_fast as af
from aruba_fast.datasets import load_wages
from aruba_fast_reproductions import mixed

wages = load_wages()
known = wages.task < 357
center, scale = wages.x[known].mean(axis=0), wages.x[known].std(axis=0)
x = np.column_stack([(wages.x - center) / scale, np.ones(len(wages.x))])
y = (wages.y - wages.y[known].mean()) / wages.y[known].std()
people = af.Tasks.from_groups(x, y, wages.task)
seen, new = people[:357], people[357:]
_, later = new.shots(4)


def errors(phi, rule, **options):
    """Mean squared error of the last three years, after one, two, three and four years."""
    few = (new.shots(k)[0] for k in range(1, 5))
    runs = [af.run_tasks(years, phi, rule, loss="squared", **options) for years in few]
    return [2 * af.evaluate(later, run.theta_hat, loss="squared").mean() for run in runs]


# %%
# Reptile needs a rate, and somebody has to choose it. We help it as much as possible: of nine rates
# it gets the one that is best on the very people that it is tested on. (With a `zeta` so large that
# no data outweigh it the rate never moves, and ARUBA becomes Reptile. The largest rates diverge; we
# switch the warning off.)

warnings.simplefilter("ignore", af.DivergenceWarning)


def reptile(rate):
    fixed = af.MetaLearner(np.zeros(x.shape[1]), learning_rate=rate, zeta=1e100)
    af.meta_train(seen, fixed, loss="squared", n_passes=10, seed=0, radius=10.0)
    return errors(fixed.phi, af.OGD(rate), n_epochs=5, radius=10.0)


best_reptile = min((reptile(rate) for rate in np.logspace(-4, -1, 9)), key=np.mean)

# %%
# ARUBA learns by the same passes and has nothing to choose. The mixed model is fitted by restricted
# likelihood; its predictions for a person are those of the proximal rule with its covariance.

learner = af.MetaLearner(np.zeros(x.shape[1]))
af.meta_train(seen, learner, loss="squared", n_passes=10, seed=0)

moments = mixed.moments(seen.x, seen.y, np.append(0, seen.stops))
model, _ = mixed.fit(moments, np.arange(x.shape[1]), True)
mixed_rule = af.Proximal(model.cov / model.noise)

fit = af.meta_fit(seen, loss="squared")

# %%
# The first year of somebody new helps most. The best Reptile stays behind until it has seen four
# years. ARUBA is as good as the mixed model, both by steps and by the proximal rule, which is
# fitted to all people at once.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
years = np.arange(1, 5)
start = 2 * af.evaluate(later, learner.phi, loss="squared").mean()
for label, values, style in (
    ("Reptile, the best of nine rates", best_reptile, "o--"),
    ("mixed model, random slopes", errors(model.beta, mixed_rule), "s--"),
    ("ARUBA++, nothing chosen", errors(learner.phi, learner.rule(), n_epochs=5), "o-"),
    ("proximal rule, nothing chosen", errors(fit.phi, fit.rule()), "s-"),
):
    axes.plot(years, values, style, label=label)
axes.axhline(start, color="grey", lw=1, label="what all share, not adapted")
axes.set(xlabel="years of a new person that are known", ylabel="squared error of the later years")
axes.set(xticks=years, ylim=(0, None))
axes.legend()
plt.show()
