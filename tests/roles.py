"""A dozen roles of a small play, settings that take no time, and a network that NumPy computes."""

from __future__ import annotations

import numpy as np
from torch_models import torch

from aruba_fast.datasets import SYMBOLS, load_shakespeare
from aruba_fast_reproductions.adaptation import Training
from aruba_fast_reproductions.shakespeare import Method, Settings
from aruba_fast_reproductions.shakespeare.roles import Roles

SMALL = Settings(
    n_layers=2,
    n_hidden=6,
    stride=7,
    batch_size=3,
    n_rounds=24,  # the first rate is found within 17 of them, but for roles of less than two steps
    n_evaluated=None,
    n_embedding=3,
    length=7,
    n_clients=3,
    n_curve=2,
)
CPU = torch.device("cpu")


def write_play(path, n_roles=15, longer=1):
    """Roles of two to eleven lines, of the words of few letters; every role has its own word.

    Or of `longer` times as many, where windows are long.
    """
    rng = np.random.default_rng(7)
    words = ["to", "be", "or", "not", "that", "is", "the", "question", "O", "my"]
    texts = []
    for role in range(n_roles):
        own = "".join(rng.choice(list("aeiourst"), 5))
        lines = [
            " ".join([own, *rng.choice(words, rng.integers(1, 8))]) + ".\n"
            for _ in range(longer * (2 + role * 9 // max(1, n_roles - 1)))
        ]
        texts.append("".join(lines))
    # Its only line to train on, or to test on, is of one character: nothing to learn, or to test.
    texts[3], texts[4] = "\nThere.\n", "There.\n\n"
    np.savez(
        path,
        text=np.frombuffer("".join(texts).encode(), np.uint8),
        offsets=np.cumsum([0, *map(len, texts)]),
        roles=np.array([f"PLAY_{role:02}" for role in range(n_roles)]),
    )
    return path


def federated(path, method="aruba", settings=SMALL, seed=0):
    """The play, the roles and a training."""
    plays = load_shakespeare(path)
    roles = Roles(plays, settings, seed, CPU)
    return plays, roles, Training(roles, Method.of(method))


def searched(training):
    """Trains until roles are learned from; returns the number of that round."""
    for number in range(SMALL.n_rounds):
        training.round(number)
        if training.meta.n_tasks:
            return number
    raise AssertionError("there is no first rate")


def with_average(sums, sizes, n_tasks):
    """Sums over tasks, and one average task more: that of the average weight of a tensor."""
    parts = np.split(sums, np.cumsum(sizes)[:-1])
    return np.concatenate([part + part.mean() / n_tasks for part in parts])


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


class Reader:
    """The network in float64, fed one character after the other; it never sees padding."""

    def __init__(self, network):
        values = network.state_dict().items()
        self.w = {name: value.detach().double().numpy() for name, value in values}
        self.n_layers = sum("weight_hh" in name for name in self.w)
        self.forget()

    def forget(self):
        n = self.w["lstm.weight_hh_l0"].shape[1]
        self.h, self.c = np.zeros((2, self.n_layers, n))

    def scores(self, character):
        """The scores of what follows this character."""
        x = self.w["embedding.weight"][SYMBOLS.index(character)]
        for k in range(self.n_layers):
            ih, hh, bi, bh = (
                self.w[f"lstm.{name}_l{k}"]
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            i, f, g, o = np.split(ih @ x + bi + hh @ self.h[k] + bh, 4)
            self.c[k] = sigmoid(f) * self.c[k] + sigmoid(i) * np.tanh(g)
            self.h[k] = x = sigmoid(o) * np.tanh(self.c[k])
        return self.w["head.weight"] @ x + self.w["head.bias"]


def predictions(network, text, length, stride):
    """Yields (scores, character) for every character of a text but its first."""
    reader = Reader(network)
    for position in range(1, len(text)):
        # Windows start at multiples of the stride; the first that reaches this character counts.
        start = max(0, -(-(position - length) // stride)) * stride
        reader.forget()
        for character in text[start:position]:
            scores = reader.scores(character)
        yield scores, text[position]


def n_right(network, text, length, stride):
    return sum(
        SYMBOLS[scores.argmax()] == character
        for scores, character in predictions(network, text, length, stride)
    )
