"""
A network that knows sines
==========================

Five points of a sine wave: which one is it? A network that is trained on these five points alone
draws some line through them. One whose weights, and the learning rate of each weight, were learned
from 1500 other waves knows what may lie between the points, and needs ten steps.
"""

import matplotlib.pyplot as plt
import torch

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
# Meta-training is your loop, with two lines of it changed: `MetaOptimizer` instead of an optimizer,
# and `meta.task()` around every task.

model = make_model()
meta = MetaOptimizer(model.parameters())
n_rounds = 300
for round in range(n_rounds):
    for _ in range(5):
        x, y = sine(20)
        with meta.task() as optimizer:
            fit(model, optimizer, x, y)
    meta.step(meta_step=1 - round / n_rounds)

# %%
# A new wave, of which five points are shown.

torch.manual_seed(3)
x = torch.tensor([[-4.5], [-3.0], [-0.5], [1.0], [4.0]])
grid = torch.linspace(-5, 5, 200)[:, None]
y, wave = 3 * torch.sin(x + 1), 3 * torch.sin(grid + 1)


def drawn(model):
    """What the network says, and how far that is from the wave."""
    with torch.no_grad():
        line = model(grid / 5)
        return line, mse(line, wave).item()


at_start = drawn(model)
optimizer = meta.rule()
fit(model, optimizer, x, y)
adapted = drawn(model)
meta.restore()

alone = make_model()
fit(alone, torch.optim.SGD(alone.parameters(), 0.02), x, y, n_steps=1000)

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.plot(grid, wave, "k", lw=1, label="the wave")
for (line, error), style, label in (
    (drawn(alone), "C0--", "a network alone, after 1000 steps"),
    (at_start, "k:", "the learned start"),
    (adapted, "C1", "from there, after 10 steps"),
):
    axes.plot(grid, line, style, label=f"{label}: error {error:.2g}")
axes.plot(x, y, "ko", label="what is shown")
axes.set(xlabel="x", ylabel="y", ylim=(-4, 6))
axes.legend(fontsize="small", loc="upper center", ncols=2)
plt.show()
