"""
A network that knows sines
==========================

Five points of a sine wave: which wave is it? A network that is trained on these five points alone
draws some line through them. If its weights, and the learning rate of each weight, were learned
from 1500 other waves, it knows what may lie between the points, and needs ten steps.

This is the tutorial `PyTorch in two lines <../torch.html>`__ in one file.
"""

import matplotlib.pyplot as plt
import torch
from tqdm.auto import trange

from aruba_fast.torch import MetaOptimizer

torch.manual_seed(0)
torch.set_num_threads(1)
mse = torch.nn.functional.mse_loss


def sine(n_points):
    """Points of a wave; its amplitude and its phase are the task's own."""
    amplitude, phase = 0.1 + 4.9 * torch.rand(1), 3.14 * torch.rand(1)
    x = 10 * torch.rand(n_points, 1) - 5
    return x, amplitude * torch.sin(x + phase)


def make_model():
    layers = [torch.nn.Linear(1, 40), torch.nn.ReLU(), torch.nn.Linear(40, 40), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(40, 1))


def fit(model, optimizer, x, y, n_steps=10):
    for _ in range(n_steps):
        optimizer.zero_grad()
        mse(model(x / 5), y).backward()
        optimizer.step()


# %%
# Meta-training is your loop, with two lines changed: `MetaOptimizer` instead of an optimizer, and
# `meta.task()` around every task. `trange` counts the rounds, in a terminal and in a notebook.

model = make_model()
meta = MetaOptimizer(model.parameters())
n_rounds = 300
for round in trange(n_rounds):
    for _ in range(5):
        x, y = sine(20)
        with meta.task() as optimizer:
            fit(model, optimizer, x, y)
    meta.step(meta_step=1 - round / n_rounds)

# %%
# Now come a hundred new waves, which training has not seen. Each shows ten points to the network,
# and the error is that of ten others, before the first step and after each. `meta.rule()` is
# ARUBA++. The network alone starts at random weights and has one learning rate; other rates
# from 0.005 to 0.2 are hardly better.

waves = [sine(20) for _ in range(100)]


def alone():
    fresh = make_model()
    return fresh, torch.optim.SGD(fresh.parameters(), 0.02)


def errors(begin, n_steps=10):
    found = torch.zeros(n_steps + 1)
    for x, y in waves:
        network, optimizer = begin()
        for step in range(n_steps + 1):
            with torch.no_grad():
                found[step] += mse(network(x[10:] / 5), y[10:]) / len(waves)
            fit(network, optimizer, x[:10], y[:10], n_steps=1)
    return found


by_itself, learned = errors(alone), errors(lambda: (model, meta.rule()))
meta.restore()
print(f"after 10 steps: {by_itself[-1]:.2f} alone, {learned[-1]:.2f} from the learned start")

# %%
# And one wave to look at, of which five points are shown.

torch.manual_seed(3)
x = torch.tensor([[-4.5], [-3.0], [-0.5], [1.0], [4.0]])
grid = torch.linspace(-5, 5, 200)[:, None]
y, wave = 3 * torch.sin(x + 1), 3 * torch.sin(grid + 1)


def drawn(model):
    """The line that the network draws, and its error over the whole wave."""
    with torch.no_grad():
        line = model(grid / 5)
        return line, mse(line, wave).item()


at_start = drawn(model)
fit(model, meta.rule(), x, y)
adapted = drawn(model)
meta.restore()

network, optimizer = alone()
fit(network, optimizer, x, y, n_steps=1000)

figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 8), layout="constrained")
top.plot(range(11), by_itself, "C0o--", label="a network alone, rate 0.02")
top.plot(range(11), learned, "C1o-", label="learned start and rates, ARUBA++")
top.set(xlabel="steps on ten points of a new wave", ylabel="squared error on ten others")
top.set(ylim=(0, None), title="a hundred new waves")
top.legend(fontsize="small")

bottom.plot(grid, wave, "k", lw=1, label="the wave")
for (line, error), style, label in (
    (drawn(network), "C0--", "a network alone, after 1000 steps"),
    (at_start, "k:", "the learned start"),
    (adapted, "C1", "from there, after 10 steps"),
):
    bottom.plot(grid, line, style, label=f"{label}: error {error:.2g}")
bottom.plot(x, y, "ko", label="the five points")
bottom.set(xlabel="x", ylabel="y", ylim=(-4, 10), title="one more wave, from five points")
bottom.legend(fontsize="small", loc="upper center")
plt.show()
