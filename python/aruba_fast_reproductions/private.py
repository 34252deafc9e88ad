"""Accuracy against epsilon: what differential privacy of people costs.

python -m aruba_fast_reproductions.private writers --json docs/results/private.json
python -m aruba_fast_reproductions.private shakespeare --json docs/results/private-text.json
python -m aruba_fast_reproductions.private --show docs/results/private.json
"""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import aruba_fast as af
from aruba_fast._check import Float64Array, FloatArray, Int64Array
from aruba_fast.datasets import (
    SYMBOLS,
    Shakespeare,
    Writers,
    encode,
    load_mnist_writers,
    load_shakespeare,
)
from aruba_fast.federated import Server
from aruba_fast.privacy import TaskPrivacy, noise_for

# Rounds of all seen people; their rows in batches of ten, once.
N_ROUNDS, DELTA, N_EPOCHS, BATCH = 40, 1e-4, 3, 10
EPSILONS = (np.inf, 10.0, 3.0, 1.0)
RATES, CLIPS = (0.1, 0.3, 1.0, 3.0, 10.0), (0.4, 0.8, 1.6, 3.2, 6.4)
TEST_RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
ARMS: dict[str, dict[str, Any]] = {
    "ARUBA": {},
    "ARUBA, clip_theta=2": {"clip_theta": 2.0},
    "ARUBA, isotropic": {"isotropic": True},
}
# At one epsilon: what other guesses would have cost.
GUESSES: dict[str, dict[str, Any]] = {
    "first rate / 10": {"times_first": 0.1},
    "first rate x 10": {"times_first": 10.0},
    "spread / 10": {"times_spread": 0.1},
    "spread x 10": {"times_spread": 10.0},
}


@dataclass(frozen=True)
class People:
    """The people of one seed, for a linear softmax.

    Attributes:
        train: Those who are trained on.
        support: The rows that the others adapt on.
        query: Their other rows.
        n_classes: What a row may be.
        first: A guess of the first rate.
        spread: A guess of the distance and the squared gradients of an average person, for each
            weight.
    """

    train: af.Tasks
    support: af.Tasks
    query: af.Tasks
    n_classes: int
    first: float
    spread: tuple[float, float]

    @property
    def n_parameters(self) -> int:
        """Weights of the softmax."""
        return self.n_classes * self.train.n_features

    def accuracy(self, theta: FloatArray) -> float:
        """Percent of the unseen people's other rows that are told rightly."""
        x, query = self.query.x, self.query
        theta = theta.reshape(-1, self.n_classes, query.n_features)
        own = np.repeat(np.arange(len(query)), query.sizes) if len(theta) > 1 else None
        scores = x @ theta[0].T if own is None else np.einsum("rf,rcf->rc", x, theta[own])
        return float(100.0 * (scores.argmax(axis=1) == query.y).mean())

    def adapted(self, phi: FloatArray, rule: Any) -> float:
        """The same after each has taken some epochs over a few rows."""
        run = af.run_tasks(
            self.support, phi, rule, loss="softmax", batch_size=BATCH, n_epochs=N_EPOCHS
        )
        return self.accuracy(run.theta_hat)

    def run(self, phi: FloatArray, rule: Any) -> af.TaskRun:
        """A round of everybody."""
        return af.run_tasks(self.train, phi, rule, loss="softmax", batch_size=BATCH)


def of_writers(writers: Writers, seed: int, n_shots: int = 20) -> People:
    """Digits of 14 x 14 pixels: 1960 weights."""
    seen, others = writers.split_writers(0.8, seed=seed)
    tasks = writers.tasks()
    support, query = tasks[others[writers.sizes[others] > n_shots]].shots(n_shots)
    return People(tasks[seen], support, query, 10, first=0.3, spread=(1e-3, 1e-2))


def of_roles(plays: Shakespeare, seed: int, n_shots: int = 200, n_most: int = 400) -> People:
    """The next character from the last three: letters, gaps and other signs, 2352 weights.

    Of each role the first few hundred characters; those who say less than the shots and as many
    more are left out.
    """
    # Symbols as letters without their case, a gap for spaces and line ends, and what else there is.
    small = [symbol.lower() for symbol in SYMBOLS]
    kinds = np.array(
        [ord(c) - 97 if c.isalpha() else 26 if c in (" ", "\n") else 27 for c in small]
    )

    def tasks(roles: Int64Array, least: int) -> af.Tasks:
        texts = [
            kinds[encode(plays.text[plays.offsets[r] : plays.offsets[r] + n_most + 1])]
            for r in roles
            if plays.offsets[r + 1] - plays.offsets[r] > least
        ]
        windows = np.concatenate([sliding_window_view(t, 4) for t in texts])
        x = np.eye(28, dtype=np.float32)[windows[:, :3]].reshape(len(windows), -1)
        offsets = np.cumsum([0, *(len(t) - 3 for t in texts)])
        return af.Tasks(x, windows[:, 3].astype(np.float32), offsets)

    seen, others = plays.split_roles(0.8, seed=seed)
    support, query = tasks(others, 2 * n_shots).shots(n_shots)
    return People(tasks(seen, 4), support, query, 28, first=1.0, spread=(1e-2, 1e-1))


def fedavg(people: People, rate: float, clip: float, noise: float, seed: int) -> FloatArray:
    """FedAvg of clipped deltas with noise, everybody weighing the same."""
    rng, phi = np.random.default_rng(seed), np.zeros(people.n_parameters, np.float32)
    for _ in range(N_ROUNDS):
        run = people.run(phi, af.OGD(rate))
        delta = run.theta_hat.astype(np.float64) - phi
        part = np.minimum(1.0, clip / np.linalg.norm(delta, axis=1, keepdims=True))
        total = (delta * part).sum(axis=0)
        if noise:
            total = total + noise * clip * rng.standard_normal(len(phi))
        phi = (phi + total / len(run)).astype(np.float32)
    return phi


def aruba(
    people: People,
    noise: float,
    seed: int,
    *,
    isotropic: bool = False,
    times_first: float = 1.0,
    times_spread: float = 1.0,
    **clips: float,
) -> tuple[af.MetaLearner, int]:
    """ARUBA on a private server, and how many rounds it refused."""
    phi, n_refused = np.zeros(people.n_parameters, np.float32), 0
    guess: Float64Array = np.repeat(
        times_spread * np.array(people.spread)[:, None], len(phi), axis=1
    )
    # Without privacy: the same clips, and noise that is nothing.
    privacy = TaskPrivacy(guess, noise or 1e-9, len(people.train), seed=seed)
    server = Server(
        af.MetaLearner(phi, learning_rate=times_first * people.first, isotropic=isotropic),
        meta_step=1.0,
        privacy=replace(privacy, **clips),  # type: ignore[arg-type]
    )
    for _ in range(N_ROUNDS):
        sent = server.round()
        server.receive(sent.reply(people.run(sent.phi, sent.rule)), "everybody")
        n_refused += server.close().n_refused
    return server.learner, n_refused


def measured(people: People, seed: int) -> Iterable[dict[str, Any]]:
    """Yields a row for every training of a seed."""
    for epsilon in EPSILONS:
        private = np.isfinite(epsilon)
        noise = noise_for(epsilon, N_ROUNDS, DELTA, accountant="pld") if private else 0.0
        facts = {"seed": seed, "epsilon": epsilon if private else None, "noise": noise}
        for name, options in (ARMS | (GUESSES if epsilon == 3.0 else {})).items():
            learner, n_refused = aruba(people, noise, seed, **options)
            phi = learner.phi
            yield facts | {
                "arm": name,
                "before": people.accuracy(phi),
                "learned": people.adapted(phi, learner.rule(None)),
                "plus": people.adapted(phi, learner.rule()),
                "rates": np.quantile(learner.learning_rate, (0.1, 0.5, 0.9)).tolist(),
                "n_refused": n_refused,
            }
        for rate in RATES:
            for clip in CLIPS if private else (np.inf,):
                phi = fedavg(people, rate, clip, noise, seed)
                yield facts | {
                    "arm": "FedAvg",
                    "rate": rate,
                    "clip": clip if private else None,
                    "before": people.accuracy(phi),
                    "adapted": [people.adapted(phi, af.OGD(own)) for own in TEST_RATES],
                }


def table(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown: means over seeds, and their standard errors."""
    lines = ["| epsilon | noise | | before | adapted | ARUBA++ |", "|---|---:|---|---:|---:|---:|"]
    for epsilon in dict.fromkeys(row["epsilon"] for row in rows):
        own = [row for row in rows if row["epsilon"] == epsilon]
        head = f"| {'∞' if epsilon is None else f'{epsilon:g}'} | {own[0]['noise']:.2f} |"
        for arm in (*ARMS, *GUESSES):
            some = [row for row in own if row["arm"] == arm]
            if some:
                cells = " | ".join(
                    _mean([r[k] for r in some]) for k in ("before", "learned", "plus")
                )
                lines.append(f"{head} {arm} | {cells} |")
        grid = _grid(own)
        for name, keys in (
            ("FedAvg, best of the grid", list(grid)),
            ("FedAvg at .1, best clip", [key for key in grid if key[0] == 0.1]),
        ):
            best = max(keys, key=lambda key: np.mean(grid[key][0]))
            before, adapted = grid[best]
            of_rate = max(adapted, key=lambda scores: np.mean(scores))
            what = f"{name} ({best[0]:g}" + (")" if best[1] is None else f", clip {best[1]:g})")
            lines.append(f"{head} {what} | {_mean(before)} | {_mean(of_rate)} | |")
    return "\n".join(lines)


def _grid(rows: list[dict[str, Any]]) -> dict[Any, tuple[list[float], list[list[float]]]]:
    """Of FedAvg by rate and clip: the scores before, and after at each rate, over seeds."""
    found: dict[Any, tuple[list[float], list[list[float]]]] = {}
    for row in rows:
        if row["arm"] == "FedAvg":
            before, adapted = found.setdefault(
                (row["rate"], row["clip"]), ([], [[] for _ in TEST_RATES])
            )
            before.append(row["before"])
            for scores, own in zip(adapted, row["adapted"], strict=True):
                scores.append(own)
    return found


def _mean(values: list[float]) -> str:
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.2f}±{error:.2f}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m aruba_fast_reproductions.private")
    parser.add_argument("data", nargs="?", choices=("writers", "shakespeare"), default="writers")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--path", type=Path, help="of the data; else in ARUBA_FAST_DATA")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    parser.add_argument("--show", type=Path, help="a file of these, to show again")
    given = parser.parse_args()
    if given.show:
        print(table(json.loads(given.show.read_text())))
        return
    people_of: Callable[[int], People]
    if given.data == "writers":
        people_of = partial(of_writers, load_mnist_writers(given.path))
    else:
        people_of = partial(of_roles, load_shakespeare(given.path))
    rows: list[dict[str, Any]] = []
    for seed in range(given.seed, given.seed + given.seeds):
        rows += list(measured(people_of(seed), seed))
        if given.json:
            lines = ",\n".join(json.dumps(row) for row in rows)
            given.json.write_text(f"[\n{lines}\n]\n")
    print(table(rows))


if __name__ == "__main__":
    main()
