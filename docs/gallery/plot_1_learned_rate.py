"""
What a learned rate per coordinate is
=====================================

Four hundred tasks have eight parameters each. In the first parameter all tasks agree, and in each
further one they differ more. To adapt to a new task one should therefore hardly change the first
parameter, and move the last one far. ARUBA finds this out by itself, because it divides how far the
tasks went by how large their gradients were.
"""

import matplotlib.pyplot as plt
import numpy as np

import aruba_fast as af

rng = np.random.default_rng(0)
spread = np.linspace(0, 2, 8)  # how much the tasks differ, parameter by parameter
x = rng.normal(size=(400, 20, 8))
targets = 1 + spread * rng.normal(size=(400, 8))
tasks = af.Tasks(x, np.einsum("tmd,td->tm", x, targets))

# %%
# The learner knows nothing but the number of parameters. It starts every coordinate at the same
# rate, which it computes from the rows, and changes the rates task by task.

learner = af.MetaLearner(np.zeros(8))
rates = []
for part in (tasks[i : i + 20] for i in range(0, 400, 20)):
    af.meta_train(part, learner, loss="squared")
    rates.append(learner.learning_rate)
rates = np.array(rates)

# %%
# After some hundred tasks the rates have fanned out, in the order of how much the tasks differ.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
colors = plt.colormaps["viridis"](spread / spread.max())
for j, color in enumerate(colors):
    axes.plot(20 * np.arange(1, 21), rates[:, j], color=color, label=f"{spread[j]:.1f}")
axes.set(yscale="log", xlabel="tasks seen", ylabel="learned rate of a coordinate")
axes.legend(title="tasks differ by", bbox_to_anchor=(1, 1), loc="upper left")
plt.show()
