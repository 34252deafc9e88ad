"""
Phones that keep their data
===========================

Three hundred phones know the taste of their owners, a few examples each, and must not send it
anywhere. A server asks twenty of them in every round. A phone answers with three sums, from which
the server learns a start and a learning rate for every coordinate, and some phones never answer.
What has to work in the end is a phone that was never asked: we look at a hundred of these.
`Many machines <../federated.html>`__ explains the parts.
"""

import matplotlib.pyplot as plt
import numpy as np

import aruba_fast as af
from aruba_fast.federated import Round, Server

rng = np.random.default_rng(0)
# People agree in the first coordinates, and differ in the last.
taste = 1 + rng.normal(size=(400, 6)) * np.linspace(0, 1.5, 6)
x = rng.normal(size=(400, 20, 6)).astype(np.float32)
y = np.einsum("trd,td->tr", x, taste) + 0.3 * rng.normal(size=(400, 20))
people = af.Tasks(x, y)
phones, new = people[:300], people[300:]

# %%
# What a phone does: it reads the bytes of a round, runs the task of its owner, and returns bytes.


def on_a_phone(sent, number):
    return Round.from_bytes(sent).answer(phones[[number]], loss="squared").to_bytes()


# %%
# What the server does, for forty rounds. One in five phones fails. After every round we ask how
# well the new phones would do, each of which has ten examples to adapt to and ten to be tested on.

few, others = new.shots(10)
server = Server(af.MetaLearner(np.zeros(6, np.float32)))
before, after, n_bytes = [], [], 0
for _ in range(40):
    sent = server.round().to_bytes()
    for number in rng.choice(300, 20, replace=False):
        name = f"phone {number}"
        if rng.random() < 0.2:
            server.fail(name, "no network")
            continue
        reply = on_a_phone(sent, number)
        n_bytes += len(reply)
        server.receive(reply, name)
    report = server.close()
    learner = server.learner
    if not learner.n_tasks:  # the first round tells the first rate, and nothing else
        continue
    run = af.run_tasks(few, learner.phi, learner.rule(), loss="squared")
    before.append(2 * af.evaluate(others, learner.phi, loss="squared").mean())
    after.append(2 * af.evaluate(others, run.theta_hat, loss="squared").mean())
print(report)
print(f"{n_bytes / 1e3:.0f} kB were received")

# %%
# Each new phone improves by its ten examples, and the more so the longer the server has learned.
# The learned rates are large where people differ.

alone = af.run_tasks(few, np.zeros(6, np.float32), af.OGD(0.05), loss="squared")
figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 8), layout="constrained")
top.plot(before, "C0--", label="new phones at the start φ")
top.plot(after, "C1", label="after their own ten examples, ARUBA++")
top.axhline(
    2 * af.evaluate(others, alone.theta_hat, loss="squared").mean(),
    color="grey",
    ls=":",
    label="a phone alone, from zero at rate 0.05",
)
top.set(xlabel="round", ylabel="squared error on ten other examples", ylim=(0, None))
top.legend(fontsize="small")
bottom.bar(range(6), server.learner.learning_rate, label="learned rate")
bottom.set(xlabel="coordinate: people agree in 0, and differ most in 5", ylabel="learning rate")
plt.show()
