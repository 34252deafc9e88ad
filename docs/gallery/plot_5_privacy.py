"""
What privacy costs
==================

Two thousand people let a server learn from them. Nobody who sees what it learned should be able to
tell whether a certain person took part. The budget ε measures this: the smaller it is, the more is
hidden. Hiding takes noise. We train with five budgets and look at the error for new people.
"""

import logging

import matplotlib.pyplot as plt
import numpy as np

import aruba_fast as af
from aruba_fast.federated import Server
from aruba_fast.privacy import Poisson, TaskPrivacy, noise_for

logging.getLogger("absl").setLevel(logging.ERROR)  # of orders that it leaves out
N_PEOPLE, SHARE, N_ROUNDS, DELTA = 2000, 0.1, 30, 1e-5
rng = np.random.default_rng(0)
wanted = np.array([1.0, -2.0, 0.5]) + np.array([0.1, 0.3, 0.9]) * rng.normal(size=(2400, 3))
x = rng.normal(size=(2400, 8, 3))
y = np.einsum("trd,td->tr", x, wanted) + 0.3 * rng.normal(size=(2400, 8))
everybody = af.Tasks(x, y)
people, new = everybody[:N_PEOPLE], everybody[N_PEOPLE:]
few, others = new.shots(4)


def error(learner):
    """Mean squared error on four rows of new people, after the other four."""
    run = af.run_tasks(few, learner.phi, learner.rule(), loss="squared")
    return 2 * af.evaluate(others, run.theta_hat, loss="squared").mean()


def trained(noise=None, seed=0):
    """A server after thirty rounds; with a privacy a tenth of the people takes part in each."""
    learner, privacy = af.MetaLearner(np.zeros(3), learning_rate=0.1), None
    if noise is not None:
        n_tasks = round(SHARE * N_PEOPLE)
        # The seed is for this page: who knows it can take the noise away.
        privacy = TaskPrivacy(np.ones((2, 3)), noise, n_tasks=n_tasks, rate=SHARE, seed=seed)
    server = Server(learner, meta_step=0.5, privacy=privacy)
    for version in range(N_ROUNDS):
        asked = people if privacy else people[version % 10 :: 10]
        server.receive(server.round().answer(asked, loss="squared"), "all of them")
        server.close()
    return error(server.learner)


# %%
# How much noise a budget needs is computed before the first round, as it depends on no data.

budgets = [0.5, 1.0, 2.0, 4.0, 8.0]
sampling = Poisson(SHARE)
errors = []
for budget in budgets:
    noise = noise_for(budget, N_ROUNDS, DELTA, sampling=sampling)
    errors.append(np.mean([trained(noise, seed) for seed in range(5)]))

# %%
# The more is hidden, the larger is the error for new people. With more people the same budget costs
# less, because the noise stays the same and the sums grow.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.plot(budgets, errors, "o-", label="private")
axes.axhline(trained(), color="k", lw=1, label="not private")
axes.axhline(
    error(af.MetaLearner(np.zeros(3), learning_rate=0.1)),
    color="grey",
    ls=":",
    label="nothing learned from anybody",
)
axes.set(xscale="log", xticks=budgets, xticklabels=[f"{b:g}" for b in budgets], ylim=(0, None))
axes.minorticks_off()
axes.set(xlabel="ε, for δ = 0.00001", ylabel="squared error on new people")
axes.legend()
plt.show()
