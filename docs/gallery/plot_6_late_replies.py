"""
Machines that answer late
=========================

A server asks a hundred phones in every round. Half of them answer at once; the others are asleep,
and their replies arrive up to four rounds later, when the model has moved on. Throwing late replies
away loses half of the people, and if the late ones are different people, it loses what is special
about them. aruba_fast learns from a late reply: what it says of the rates counts in full, and its
step of the model counts less, the older it is.
"""

import matplotlib.pyplot as plt
import numpy as np

import aruba_fast as af
from aruba_fast.federated import Server

rng = np.random.default_rng(0)
is_late = np.arange(400) % 2 == 1
wanted = rng.normal(size=(400, 4)) * np.where(is_late, 1.0, 0.2)[:, None] + is_late[:, None]
x = rng.normal(size=(400, 10, 4))
people = af.Tasks(x, np.einsum("trd,td->tr", x, wanted))
few, others = people.shots(5)


def curve(delayed, kept, share=None):
    """Error of those who sleep after every round, and how much of a late reply counts."""
    draw = np.random.default_rng(1)
    server = Server(af.MetaLearner(np.zeros(4), learning_rate=0.05), max_age=4, share=share)
    waiting, errors = [], []
    for now in range(40):
        sent = server.round()
        for phone in draw.choice(400, 100, replace=False):
            reply = sent.answer(few[[phone]], loss="squared")
            age = draw.integers(1, 5) if delayed and is_late[phone] else 0
            if not age or kept:
                waiting.append((now + age, f"phone {phone}", reply))
        for due, phone, reply in waiting:
            if due == now:
                server.receive(reply, phone)
        server.close()
        learner = server.learner
        run = af.run_tasks(few, learner.phi, learner.rule(), loss="squared")
        errors.append(2 * af.evaluate(others, run.theta_hat, loss="squared")[is_late].mean())
    return errors


# %%
# The error is that of the sleepers: how well a phone serves its owner after five examples. A late
# reply moves the start by a share, 1 / (1 + age), so that the start stays nearer to those who are
# awake. That is prudent where late replies are merely old. Where they come from other people, as
# here, `share` lets them count in full.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.plot(curve(delayed=True, kept=False), ":", label="late replies are thrown away")
axes.plot(curve(delayed=True, kept=True), "-", label="late replies count for less")
axes.plot(curve(True, True, lambda _: 1.0), "-.", label="late replies count in full")
axes.plot(curve(delayed=False, kept=True), "--", label="nobody is late")
axes.set(xlabel="round", ylabel="squared error of those who sleep", ylim=(0, None))
axes.legend()
plt.show()
