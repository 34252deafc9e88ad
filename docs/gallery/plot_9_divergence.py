"""
Divergence, and what the warning says
=====================================

Features in the wrong unit are the usual reason why gradient descent diverges: a step that is right
for a coordinate in metres is ten thousand times too large for the same one in centimetres. We give
a learner a first rate that was right before somebody changed the unit, and look at the losses.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import aruba_fast as af

rng = np.random.default_rng(0)
x = rng.normal(size=(300, 10, 4)).astype(np.float32)
targets = 1 + 0.3 * rng.normal(size=(300, 4))
y = np.einsum("tmd,td->tm", x, targets)
metres = af.Tasks(x, y)
others = af.Tasks(x * np.float32([50, 1, 1, 1]), y)  # the first feature in another unit

# %%
# The learner notices after ten tasks, and warns once. It leaves out tasks that are not finite, and
# lowers all rates.

losses = {}
told = af.MetaLearner(np.zeros(4, np.float32), learning_rate=0.1)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    losses["another unit, first rate 0.1"] = af.meta_train(others, told, loss="squared").loss
for warning in said:
    print(warning.message)

# %%
# Without a number for `learning_rate` the learner computes one from the rows, so small that a step
# on a single row never goes beyond the minimum of that row's loss. That is safe, but the rate suits
# the largest feature, and the other three are learned slowly. The remedy is to give all columns one
# scale, as the warning says.

for name, tasks in (("another unit", others), ("one scale", metres)):
    found = af.MetaLearner(np.zeros(4, np.float32))
    loss = af.meta_train(tasks, found, loss="squared").loss
    losses[f"{name}, first rate {found.initial_learning_rate:.2g}, found"] = loss

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
for (label, loss), style in zip(losses.items(), (".", "-", "-"), strict=True):
    axes.plot(loss / 10, style, label=label)
axes.set(yscale="log", xlabel="task", ylabel="mean loss of a row, during the steps")
axes.legend()
plt.show()
