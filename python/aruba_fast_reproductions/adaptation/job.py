"""One training and its tests, from the files where it stood to the files where it ends."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from aruba_fast import _arrays
from aruba_fast._diagnosis import QUANTILES

from ..files import plain, read_json, write_json
from ..logs import open_log
from ..runs import Measurement, Progress, Run, Stop
from ..workers import one_thread
from .methods import BEFORE, Method
from .problem import Problem
from .testing import mean_score
from .training import Training

TrainingOf = Callable[[Problem, Method], Training]


@dataclass(frozen=True)
class AdaptationJob(ABC):
    """Trains by one method with one seed and tests it; what is done is not done again.

    Attributes:
        method: How tasks move in training.
        seed: Seed of all that is drawn.
        settings: A dataclass of the experiment, with `n_rounds`, and `n_curve`, the number of times
            that is looked while training goes on.
        folder: Where its files are: NAME-seedN.safetensors to go on from, NAME-seedN.json.
        data: Where the data are; None for the folder that ARUBA_FAST_DATA names.
        device: Where PyTorch computes.
        tensorboard: Folder of its logs, or None.
        kinds: The kinds of tests.
    """

    method: Method
    seed: int
    settings: Any
    folder: Path
    data: Path | None = None
    device: str = "cpu"
    tensorboard: Path | None = None
    kinds: ClassVar[tuple[str, ...]]

    @abstractmethod
    def problem(self) -> Problem:
        """Makes the experiment of its seed."""

    @property
    def looks(self) -> dict[str, str]:
        """How which tests are looked at while training goes on."""
        return dict.fromkeys(self.kinds, BEFORE)

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"{self.method.name}-seed{self.seed}"

    @property
    def size(self) -> int:
        """How much there is to do: rounds, and then tests, of which a kind in one way is one."""
        return int(self.settings.n_rounds) + len(self.kinds) * len(self.method.ways)

    def __call__(
        self, progress: Progress, stop: Stop, training_of: TrainingOf = Training
    ) -> dict[str, Any]:
        """Does what is left of it; returns what its JSON file holds."""
        one_thread()
        problem = self.problem()
        training = training_of(problem, self.method)
        groups = problem.groups()
        n_rounds = self.settings.n_rounds
        about = {
            "method": self.method.name,
            "seed": self.seed,
            **problem.about,
            **asdict(self.settings),
        }
        run = Run(training, self.folder / f"{self.stem}.safetensors", about, n_rounds)

        def look() -> Measurement:
            # There is no rule to test by while the first rate is searched.
            known = training.meta.learners[0].initial_learning_rate is not None
            found = {
                kind: mean_score(training, groups[kind], way, stop.check)
                for kind, way in self.looks.items()
                if known or way == BEFORE
            }
            return {kind: score for kind, score in found.items() if math.isfinite(score)}

        with open_log(self.tensorboard, self.stem) as log:
            run.finish(
                stop,
                lambda done, _: progress(done, self.size),
                look,
                max(1, n_rounds // self.settings.n_curve),
                log,
            )
        path = self.folder / f"{self.stem}.json"
        meta = training.meta
        result: dict[str, Any] = {
            "about": about,
            "title": self.method.title,
            "torch": torch.__version__,
            "seconds": run.seconds,
            "cpu_seconds": run.cpu_seconds,
            "first_rate": meta.learners[0].initial_learning_rate,
            "n_tasks": meta.n_tasks,
            "n_skipped": meta.n_skipped,
            "history": run.history,
            "rates": _rates(training) if self.method.rate is None else {},
            **problem.facts(groups),
            BEFORE: {
                kind: plain(mean_score(training, group, BEFORE)) for kind, group in groups.items()
            },
            "after": {kind: {} for kind in groups},
            "after_seconds": 0.0,
        }
        found = read_json(self.method.command, path, {"about": about})
        result |= {name: found[name] for name in ("after", "after_seconds") if name in found}
        done = n_rounds
        for way in self.method.ways:
            for kind, group in groups.items():
                if way not in result["after"][kind]:
                    began = time.monotonic()
                    # A task that diverged has no error, nor has the mean.
                    score = plain(mean_score(training, group, way, stop.check))
                    result["after"][kind][way] = score
                    result["after_seconds"] += time.monotonic() - began
                    write_json(path, result)
                done += 1
                progress(done, self.size)
        write_json(path, result)
        return result


def _rates(training: Training) -> dict[str, list[float]]:
    """Quantiles of the learned rates of every layer, of the weights that ever had a gradient."""
    # Embeddings of symbols that nobody says have none.
    found, meta = {}, training.meta
    (learner,) = meta.learners
    names = [name for name, _ in training.network.named_parameters()]
    sizes = [p.numel() for p in meta.parameters]
    squares = torch.from_numpy(_arrays.host(learner.g)).split(sizes)
    for name, rates, g in zip(names, meta.learning_rate, squares, strict=True):
        moved = rates.flatten()[g.to(rates.device) > 0.0]
        if len(moved):
            cuts = torch.quantile(moved.double(), torch.tensor(QUANTILES, dtype=torch.float64))
            found[name] = [float(f"{cut:.4g}") for cut in cuts.tolist()]
    return found
