"""The settings of the experiment on MNIST by writer."""

from dataclasses import dataclass

from ..settings import check_fields


@dataclass(frozen=True)
class Settings:
    """Sizes of training and of its tests.

    Attributes:
        n_rounds: Rounds of federated training.
        n_clients: Writers of a round.
        batch_size: Images of a step.
        writer_fraction: Share of the writers that are trained on: the seen ones.
        shots: Images that an unseen writer adapts to; it is tested on its others.
        n_epochs: Times that it goes over them.
        n_curve: Times that accuracy is measured while training goes on.
    """

    n_rounds: int = 200
    n_clients: int = 10
    batch_size: int = 10
    writer_fraction: float = 0.8
    shots: int = 20
    n_epochs: int = 3
    n_curve: int = 10

    def __post_init__(self) -> None:
        check_fields("writers", self)
