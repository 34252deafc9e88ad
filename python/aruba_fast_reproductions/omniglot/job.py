"""One training and its tests, from the files where it stood to the files where it ends."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from aruba_fast._check import Int64Array
from aruba_fast.datasets import Episodes, load_omniglot
from aruba_fast.theory.transfer import standard_error

from ..files import fingerprint, read_json, write_json
from ..logs import open_log
from ..runs import Measurement, Progress, Run, Stop
from ..workers import one_thread
from .evaluation import evaluate
from .methods import ARUBA, ARUBA_PLUS, Method
from .rates import rates_of
from .settings import EvaluationSettings, Settings
from .training import Images, OmniglotTraining

# Seeds of the tasks: those of the test are the same for all methods and all seeds of training.
_TEST_SEED, _LOOKING_SEED = 0, 2
# An adaptation to 5 drawings costs about as much as two meta-iterations.
_ROUNDS_A_TASK = 2


@dataclass(frozen=True)
class OmniglotJob:
    """Trains one method with one seed and tests it; what is there already is not done again.

    Attributes:
        method: What moves the weights within a task.
        seed: Seed of the training.
        settings: Of the training.
        evaluation: Of its tests.
        folder: Where its files are: NAME-seedN.safetensors to go on from, NAME-seedN.json.
        data: Where Omniglot is; None for the folder that ARUBA_FAST_DATA names.
        partial: Whether a part of it is accepted.
        device: Where PyTorch computes.
        compiled: Whether it compiles the network.
        tensorboard: Folder of its logs, or None.
    """

    method: Method
    seed: int
    settings: Settings
    evaluation: EvaluationSettings
    folder: Path
    data: Path | None = None
    partial: bool = False
    device: str = "cpu"
    compiled: bool = False
    tensorboard: Path | None = None

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"{self.method.name}-seed{self.seed}"

    @property
    def size(self) -> int:
        """How much there is to do, in meta-iterations."""
        return self.settings.meta_iterations + _ROUNDS_A_TASK * self._n_tasks

    @property
    def _n_tasks(self) -> int:
        return self.evaluation.n_tasks * len(self._coefs) * len(self.evaluation.shots)

    @property
    def _coefs(self) -> dict[str, str | None]:
        """What the training is tested as, and the coefficient of its rule for new tasks."""
        own: dict[str, str | None] = {self.method.name: None}
        return {**own, ARUBA_PLUS: "auto"} if self.method.kind == ARUBA else own

    def __call__(self, progress: Progress, stop: Stop) -> dict[str, Any]:
        """Does what is left of it; returns what its JSON file holds."""
        one_thread()
        data = load_omniglot(self.data, partial=self.partial)
        train, test = data.split_characters(self.settings.n_train, self.settings.split_seed)
        training = OmniglotTraining(
            *(data.images, train, self.method, self.settings, self.seed),
            device=self.device,
            compiled=self.compiled,
        )
        # Of the pixels, whichever files they came from.
        of_data = {"data": fingerprint(data.images)}
        run = Run(
            training,
            self.folder / f"{self.stem}.safetensors",
            self.method.described(self.settings, self.seed) | of_data,
            self.settings.meta_iterations,
        )
        looks = _Tests(self, training, data.images, train, stop)
        with open_log(self.tensorboard, self.stem) as log:
            run.finish(
                stop,
                lambda done, _: progress(done, self.size),
                looks.look,
                self.evaluation.every,
                log,
            )
        report = Counter(progress, self.settings.meta_iterations, self.size)
        tests = _Tests(self, training, data.images, test, stop)
        return self._tested(run, of_data, training, tests, report)

    def _tested(
        self,
        run: Run,
        of_data: dict[str, str],
        training: OmniglotTraining,
        tests: "_Tests",
        report: "Counter",
    ) -> dict[str, Any]:
        path = self.folder / f"{self.stem}.json"
        own = {"settings": asdict(self.settings), **of_data}
        found = list(read_json("omniglot", path, own).get("tests", []))
        result: dict[str, Any] = {
            "method": self.method.name,
            "title": self.method.title,
            "seed": self.seed,
            **own,
            "evaluation": {**asdict(self.evaluation), "shots": list(self.evaluation.shots)},
            "seconds": run.seconds,
            "cpu_seconds": run.cpu_seconds,
            "torch": torch.__version__,
            "n_tasks": training.meta.n_tasks,
            "n_skipped": training.meta.n_skipped,
            "history": run.history,
            "tests": found,
        }
        if training.inner is None:
            result["first_rate"] = self._first_rate(training)
            result["rates"] = rates_of(training.meta, training.model)
        for shots in self.evaluation.shots:
            for kind, coef in self._coefs.items():
                key = self._key(kind, shots)
                if not any(all(test[k] == v for k, v in key.items()) for test in found):
                    found.append({**key, **tests.accuracy(shots, coef, report)})
                    write_json(path, result)
        write_json(path, result)
        return result

    def _first_rate(self, training: OmniglotTraining) -> float:
        (learner,) = training.meta.learners
        if (rate := learner.initial_learning_rate) is None or not learner.n_tasks:
            own = self.settings
            raise ValueError(
                "omniglot: `meta_iterations` must be enough to learn rates: got "
                f"{own.meta_iterations} of {own.meta_batch} tasks, expected more, of which the "
                "first some tens find the first rate"
            )
        return rate

    def _key(self, kind: str, shots: int) -> dict[str, Any]:
        own = self.evaluation
        return {
            "method": kind,
            "shots": shots,
            "transductive": own.transductive,
            "n_tasks": own.n_tasks,
            "steps": own.steps,
            "batch": own.batch,
        }


class Counter:
    """Counts test tasks into the progress of a job."""

    def __init__(self, progress: Progress, done: int, total: int) -> None:
        self._progress, self._done, self._total = progress, done, total

    def __call__(self) -> None:
        """One more."""
        self._done += _ROUNDS_A_TASK
        self._progress(self._done, self._total)


class _Tests:
    """Tests of a training on tasks of some characters."""

    def __init__(
        self,
        job: OmniglotJob,
        training: OmniglotTraining,
        images: Images,
        characters: Int64Array,
        stop: Stop,
    ) -> None:
        self._job, self._training, self._stop = job, training, stop
        self._images, self._characters = images, characters

    def _right(
        self,
        shots: int,
        n_tasks: int,
        seed: int,
        coef: str | None = None,
        count: Callable[[], object] = lambda: None,
    ) -> Int64Array:
        episodes = Episodes(
            self._images,
            self._characters,
            n_way=self._job.settings.n_way,
            k_shot=shots,
            n_query=1,
            seed=seed,
        )

        def between() -> None:
            self._stop.check()
            count()

        own = self._job.evaluation
        return evaluate(self._training, episodes, n_tasks, own, coef=coef, before_each=between)

    def look(self) -> Measurement:
        """The accuracy on a few tasks, and where the rates are.

        There is no rule while the first rate is searched, and no rho before rates are learned.
        """
        own, meta = self._job.evaluation, self._training.meta
        found = {}
        if self._training.inner is None:
            rates, rho = (
                torch.cat([v.flatten() for v in vs]) for vs in (meta.learning_rate, meta.rho)
            )
            found["median rate"] = float(rates.median())
            if meta.n_tasks:
                found["mean rho"] = float(rho.nanmean())
            if meta.learners[0].initial_learning_rate is None:
                return found
        for shots in own.shots:
            right = self._right(shots, own.n_looking, _LOOKING_SEED)
            found[f"accuracy {shots}-shot"] = float(right.mean() / self._job.settings.n_way)
        return found

    def accuracy(
        self, shots: int, coef: str | None, count: Callable[[], object]
    ) -> dict[str, float]:
        """The accuracy on the tasks of the test, and its standard error over tasks."""
        own = self._job.evaluation
        each = self._right(shots, own.n_tasks, _TEST_SEED, coef, count) / self._job.settings.n_way
        error = standard_error(each) if len(each) > 1 else 0.0
        return {"accuracy": float(each.mean()), "standard_error": float(error)}
