"""The settings of the regression of sines."""

from dataclasses import dataclass

from ..settings import check_fields


@dataclass(frozen=True)
class Settings:
    """Sizes of training and of its tests.

    Attributes:
        n_rounds: Rounds of Reptile; its step falls from 1 to 0.
        meta_batch: Sines of a round.
        shots: Points that a sine is known by.
        batch_size: Points of a step.
        n_steps: Steps of a task.
        n_longer: How many times as many a long test takes.
        n_tests: Sines of a test.
        n_grid: Points between -5 and 5 at which a test counts the error.
        n_curve: Times that the error is measured while training goes on.
    """

    n_rounds: int = 2000
    meta_batch: int = 5
    shots: int = 10
    batch_size: int = 5
    n_steps: int = 10
    n_longer: int = 4
    n_tests: int = 200
    n_grid: int = 100
    n_curve: int = 10

    def __post_init__(self) -> None:
        check_fields("sine", self)
