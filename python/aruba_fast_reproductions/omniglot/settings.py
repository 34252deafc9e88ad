"""What an experiment on Omniglot is run with: Reptile's settings, and how it is tested."""

from dataclasses import dataclass, replace
from typing import Any

from aruba_fast import _check

from ..settings import check_fields

_NAME = "omniglot"
SCALES = ("laptop", "paper")


@dataclass(frozen=True)
class Settings:
    """Sizes and steps of meta-training; the defaults are Reptile's for 5-way tasks.

    Attributes:
        n_way: Classes of a task.
        train_shots: Drawings of a class in a task.
        inner_batch: Size of its mini-batches.
        inner_steps: Number of them.
        meta_batch: Tasks of a meta-iteration.
        meta_iterations: Number of them; the step of the initialization falls from `meta_step` to 0.
        meta_step: First step of the initialization.
        adam_rate: Learning rate of Reptile with Adam.
        n_train: Characters of meta-training; the others are for meta-testing.
        split_seed: Seed of that split.
    """

    n_way: int = 5
    train_shots: int = 10
    inner_batch: int = 10
    inner_steps: int = 5
    meta_batch: int = 5
    meta_iterations: int = 100_000
    meta_step: float = 1.0
    adam_rate: float = 1e-3
    n_train: int = 1200
    split_seed: int = 0

    def __post_init__(self) -> None:
        least = {"n_way": 2, "split_seed": 0}
        check_fields(_NAME, self, number=_check.positive, least=least)


@dataclass(frozen=True)
class EvaluationSettings:
    """Meta-testing; the defaults are Reptile's for 5-way tasks.

    Attributes:
        shots: Drawings of a class to adapt on: one test for each of these numbers.
        transductive: Whether a task's queries share the statistics of their batch.
        batch: Size of the mini-batches of a task.
        steps: Number of them.
        n_tasks: Number of tasks, the same for all methods and seeds.
        every: Meta-iterations between two looks at the accuracy on the way; 0 for none.
        n_looking: Number of tasks of such a look, of training characters.
    """

    shots: tuple[int, ...] = (1, 5)
    transductive: bool = True
    batch: int = 5
    steps: int = 50
    n_tasks: int = 1000
    every: int = 5000
    n_looking: int = 100

    def __post_init__(self) -> None:
        if not self.shots:
            raise ValueError(f"{_NAME}: `shots` must not be empty: got none, expected 1 or 5, say")
        for shots in self.shots:
            _check.integer(_NAME, "shots", shots, 1)
        for name in ("batch", "steps", "n_tasks", "n_looking"):
            _check.integer(_NAME, name, getattr(self, name), 1)
        _check.integer(_NAME, "every", self.every, 0)
        _check.boolean(_NAME, "transductive", self.transductive)


def of_scale(
    scale: str, n_way: int = 5, meta_iterations: int | None = None, **test: Any
) -> tuple[Settings, EvaluationSettings]:
    """Settings of a size that has a name.

    "paper" is Reptile's: 100 000 meta-iterations for 5-way tasks, 200 000 for 20-way ones with
    their own batches and rate, 10 000 test tasks. "laptop" is the same network, data and steps
    with 4000 meta-iterations and 400 test tasks: six trainings in half an hour on two cores.

    Args:
        scale: "paper" or "laptop".
        n_way: Classes of a task; from 10 on, the settings are those that Reptile has for 20.
        meta_iterations: Other than the scale has it, or None.
        test: Other settings of the test.

    Returns:
        Settings of meta-training and of meta-testing.

    Source: the settings of Nichol, Achiam and Schulman (2018).
    """
    if scale not in SCALES:
        raise ValueError(
            f"{_NAME}: `scale` must be known: got {scale!r}, expected {' or '.join(SCALES)}"
        )
    wide = n_way >= 10
    training = Settings(n_way=n_way, meta_iterations=200_000 if wide else 100_000)
    if wide:
        training = replace(training, inner_batch=20, inner_steps=10, adam_rate=5e-4)
    sizes: dict[str, Any] = {"n_tasks": 10_000, "batch": 10 if wide else 5}
    if scale == "laptop":
        training = replace(training, meta_iterations=4000)
        sizes |= {"n_tasks": 400, "every": 1000, "n_looking": 40}
    if meta_iterations is not None:
        training = replace(training, meta_iterations=meta_iterations)
    found = EvaluationSettings(**{**sizes, **test})
    # Who asks for few tasks does not wait for many on the way.
    return training, replace(found, n_looking=min(found.n_tasks, found.n_looking))
