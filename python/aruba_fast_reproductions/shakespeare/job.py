"""One training and its accuracies, from the files where it stood to the files where it ends."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from aruba_fast import _arrays
from aruba_fast._diagnosis import QUANTILES
from aruba_fast.datasets import Shakespeare, load_shakespeare
from aruba_fast.torch import MetaOptimizer

from ..files import fingerprint, read_json, write_json
from ..logs import open_log
from ..runs import Measurement, Progress, Run, Stop
from ..workers import one_thread
from .federated import Federated
from .methods import Method
from .personalization import Group, after, before
from .roles import KINDS, Roles
from .settings import Settings


@dataclass(frozen=True)
class ShakespeareJob:
    """Trains by one method with one seed and personalizes; what is done is not done again.

    Attributes:
        method: How roles move in training.
        seed: Seed of the split of the roles, the network, and all that is drawn.
        settings: The scale.
        folder: Where its files are: NAME-seedN.safetensors to go on from, NAME-seedN.json.
        data: Where Shakespeare is; None for the folder that ARUBA_FAST_DATA names.
        device: Where PyTorch computes.
        tensorboard: Folder of its logs, or None.
    """

    method: Method
    seed: int
    settings: Settings
    folder: Path
    data: Path | None = None
    device: str = "cpu"
    tensorboard: Path | None = None

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"{self.method.name}-seed{self.seed}"

    @property
    def size(self) -> int:
        """How much there is to do: rounds, and then roles to personalize by tens, about a round."""
        return self.settings.n_rounds + len(KINDS) * len(self.method.personalizations)

    def __call__(self, progress: Progress, stop: Stop) -> dict[str, Any]:
        """Does what is left of it; returns what its JSON file holds."""
        one_thread()
        plays, device = load_shakespeare(self.data), torch.device(self.device)
        roles = Roles(plays, self.settings, self.seed, device)
        training = Federated(roles, self.settings, self.method, self.seed, device)
        groups = {kind: Group.of(roles, which) for kind, which in roles.evaluated().items()}
        about = self._described(plays)
        path = self.folder / f"{self.stem}.safetensors"
        run = Run(training, path, about, self.settings.n_rounds)

        def look() -> Measurement:
            return {kind: before(training, group) for kind, group in groups.items()}

        with open_log(self.tensorboard, self.stem) as log:
            run.finish(
                stop,
                lambda done, _: progress(done, self.size),
                look,
                max(1, self.settings.n_rounds // self.settings.n_curve),
                log,
            )
        return self._personalized(run, about, training, groups, progress, stop)

    def _described(self, plays: Shakespeare) -> dict[str, Any]:
        """What a file must agree in to be this run's."""
        return {
            "method": self.method.name,
            "seed": self.seed,
            "data": fingerprint(plays.text, plays.offsets),
            **asdict(self.settings),
        }

    def _personalized(
        self,
        run: Run,
        about: dict[str, Any],
        training: Federated,
        groups: dict[str, Group],
        progress: Progress,
        stop: Stop,
    ) -> dict[str, Any]:
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
            "rates": _rates(meta, training) if self.method.rate is None else {},
            "n_roles": {kind: len(group.test) for kind, group in groups.items()},
            "n_predictions": {kind: group.n_predictions for kind, group in groups.items()},
            "most_frequent": {kind: group.most_frequent for kind, group in groups.items()},
            "before": {kind: before(training, group) for kind, group in groups.items()},
            "after": {kind: {} for kind in groups},
            "after_seconds": 0.0,
        }
        found = read_json("shakespeare", path, {"about": about})
        result |= {name: found[name] for name in ("after", "after_seconds") if name in found}
        done = self.settings.n_rounds
        for how in self.method.personalizations:
            for kind, group in groups.items():
                if how not in result["after"][kind]:
                    began = time.monotonic()
                    result["after"][kind][how] = after(training, group, how, stop.check)
                    result["after_seconds"] += time.monotonic() - began
                    write_json(path, result)
                done += 1
                progress(done, self.size)
        write_json(path, result)
        return result


def _rates(meta: MetaOptimizer, training: Federated) -> dict[str, list[float]]:
    """Quantiles of the learned rates of every layer, of the weights that ever had a gradient."""
    # Embeddings of symbols that nobody says have none.
    found, (learner,) = {}, meta.learners
    names = [name for name, _ in training.network.named_parameters()]
    sizes = [p.numel() for p in meta.parameters]
    squares = torch.from_numpy(_arrays.host(learner.g)).split(sizes)
    for name, rates, g in zip(names, meta.learning_rate, squares, strict=True):
        moved = rates.flatten()[g.to(rates.device) > 0.0]
        if len(moved):
            cuts = torch.quantile(moved.double(), torch.tensor(QUANTILES, dtype=torch.float64))
            found[name] = [float(f"{cut:.4g}") for cut in cuts.tolist()]
    return found
