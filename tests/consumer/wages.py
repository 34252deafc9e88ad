"""Writes the wages for wages.cpp, and prints what that must print, computed in Python."""

import sys
from pathlib import Path

import numpy as np

import aruba_fast as af

table = af.datasets.load_wages()
# Columns of one scale, and one of ones.
x = (table.x - table.x.mean(0)) / table.x.std(0)
x = np.column_stack([x, np.ones(len(x))]).astype(np.float32)
y = (table.y - table.y.mean()).astype(np.float32)
with Path(sys.argv[1]).open("w") as file:
    print(x.shape[1], file=file)
    for person, label, row in zip(table.task, y, x, strict=True):
        print(person, *(f"{value:.9g}" for value in (label, *row)), file=file)

tasks = af.Tasks.from_groups(x, y, table.task)
learner = af.MetaLearner(np.zeros(tasks.n_features, np.float32))
af.meta_train(tasks[:400], learner, loss="squared", n_passes=3)
for phi, rate in zip(learner.phi, learner.learning_rate, strict=True):
    print(f"phi {phi:.9g} rate {rate:.9g}")

seen, unseen = tasks[400:].shots(3)
run = af.run_tasks(seen, learner.phi, learner.rule(), loss="squared")
error = 0.0
for loss in af.evaluate(unseen, run.theta_hat, loss="squared"):
    error += loss
print(f"mean loss of the others {error / len(seen):.9g}")
