"""Reptile's meta-training and meta-testing written down naively, as an oracle of the experiment."""

import copy

import numpy as np
from drawings import small
from torch_models import torch

from aruba_fast_reproductions.omniglot import EvaluationSettings, Settings

F = torch.nn.functional

NAMES = ("adam", "sgd-0.1", "isotropic", "aruba")
SETTINGS = Settings(
    n_way=2,
    train_shots=3,
    inner_batch=4,
    inner_steps=3,
    meta_batch=2,
    meta_iterations=30,  # the first rate is found by the 25th
    n_train=6,
)
EVALUATION = EvaluationSettings(shots=(1, 3), batch=2, steps=3, n_tasks=6, every=15, n_looking=2)
DATA = small(np.random.default_rng(0))


def passes(order_of, n_samples, batch, steps):
    """Batches as Reptile's generator yields them: sample after sample, shuffled anew at the end."""
    current, found, number = [], [], 0
    while len(found) < steps:
        for sample in order_of(number):
            current.append(sample)
            if len(current) == batch:
                found.append(current)
                current = []
            if len(found) == steps:
                break
        number += 1
    assert all(0 <= s < n_samples for b in found for s in b)
    return np.array(found)


def forward(model, x):
    """The network from its equations: convolution, normalization, ReLU; the dense head."""
    values = [p.detach().double() for p in model.parameters()]
    x = x.double()
    for k in range(4):
        weight, scale, shift = values[3 * k : 3 * k + 3]
        x = torch.nn.functional.pad(x, (1, 1, 1, 1))
        patches = x.unfold(2, 3, 2).unfold(3, 3, 2)
        x = torch.einsum("nchwij,ocij->nohw", patches, weight)
        mean = x.mean(dim=(0, 2, 3), keepdim=True)
        variance = ((x - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-3)
        x = (x * scale[:, None, None] + shift[:, None, None]).clamp(min=0)
    return x.flatten(1) @ values[12].T + values[13]


class Rule:
    """A step within a task, from its equation; made anew for each task where it has no memory."""

    def __init__(self, kind, rates=None, b=None, g=None, coef=0.0, second=None, n_steps=0):
        self.kind, self.rates, self.b, self.g, self.coef = kind, rates, b, g, coef
        self.second, self.n_steps = second, n_steps
        self.squares = None

    def step(self, parameters, gradients):
        if self.squares is None:
            self.squares = [torch.zeros_like(g, dtype=torch.float64) for g in gradients]
        self.squares = [s + g.double() ** 2 for s, g in zip(self.squares, gradients, strict=True)]
        if self.kind == "adam":
            self.n_steps += 1
            self.second = [
                0.999 * v + 0.001 * g * g for v, g in zip(self.second, gradients, strict=True)
            ]
            correction = 1 - 0.999**self.n_steps
            moves = [
                self.rates * g / ((v / correction).sqrt() + 1e-8)
                for g, v in zip(gradients, self.second, strict=True)
            ]
        elif self.kind == "aruba++":
            rates = [(b / g).sqrt() for b, g in zip(self.b, self.g, strict=True)]
            self.g = [g + self.coef * d * d for g, d in zip(self.g, gradients, strict=True)]
            moves = [r * g for r, g in zip(rates, gradients, strict=True)]
        else:
            rates = self.rates if isinstance(self.rates, list) else [self.rates] * len(gradients)
            moves = [r * g for r, g in zip(rates, gradients, strict=True)]
        return [p - m for p, m in zip(parameters, moves, strict=True)]


def adapt(model, rule, x, y, batches):
    """A copy of the model after the steps of a task."""
    model = copy.deepcopy(model)
    parameters = list(model.parameters())
    for rows in batches:
        loss = F.cross_entropy(model(x[rows]), y[rows])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            moved = rule.step(parameters, gradients)
            for p, new in zip(parameters, moved, strict=True):
                p.copy_(new)
    return model


def predictions(model, support, query, transductive):
    if transductive:
        return forward(model, query).argmax(dim=1)
    return torch.stack(
        [
            forward(model, torch.cat([support, query[i : i + 1]]))[len(support)].argmax()
            for i in range(len(query))
        ]
    )
