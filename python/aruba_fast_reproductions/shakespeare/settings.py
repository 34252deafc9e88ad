"""The settings of the Shakespeare experiment: the paper's, and those that two cores can do."""

from dataclasses import dataclass

from ..settings import check_fields

_NAME = "shakespeare"


@dataclass(frozen=True)
class Settings:
    """One scale of the experiment.

    Attributes:
        n_layers: Layers of the LSTM.
        n_hidden: Hidden units of a layer.
        stride: Characters between the starts of windows. `length`: windows lie side by side, and
            every position of a window predicts. 1: every character is predicted by a window of its
            own, from the `length` characters before it, as LEAF does.
        batch_size: Windows of a step.
        n_rounds: Rounds of federated training.
        n_evaluated: Roles of each kind, seen and unseen, whose accuracy is measured; None for all.
        n_embedding: Numbers that a character is embedded in.
        length: Characters of context, at most.
        n_clients: Roles of a round.
        role_fraction: Share of the roles that are trained on: the seen ones.
        line_fraction: Share of a role's lines that are trained on, or personalized on.
        n_curve: Times that accuracy is measured while training goes on.
    """

    n_layers: int
    n_hidden: int
    stride: int
    batch_size: int
    n_rounds: int
    n_evaluated: int | None
    n_embedding: int = 8
    length: int = 80
    n_clients: int = 10
    role_fraction: float = 0.8
    line_fraction: float = 0.8
    n_curve: int = 10

    def __post_init__(self) -> None:
        check_fields(_NAME, self)
        if self.stride > self.length:
            raise ValueError(
                f"{_NAME}: `stride` must not skip characters: got {self.stride}, "
                f"expected at most `length` = {self.length}"
            )


SCALES = {
    "paper": Settings(
        n_layers=2, n_hidden=256, stride=1, batch_size=10, n_rounds=500, n_evaluated=None
    ),
    "laptop": Settings(
        n_layers=1, n_hidden=128, stride=80, batch_size=4, n_rounds=200, n_evaluated=150
    ),
}
