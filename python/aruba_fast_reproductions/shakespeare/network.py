"""The character LSTM, its loss, and how many of its predictions are right."""

import torch
from torch import Tensor, nn

from aruba_fast.datasets.text import PADDING, SYMBOLS

from ..networks import first_weights
from .settings import Settings


class CharacterLSTM(nn.Module):
    """Predicts, at every position of a window, the character that follows it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        n = settings.n_hidden
        self.embedding = nn.Embedding(len(SYMBOLS), settings.n_embedding)
        self.lstm = nn.LSTM(settings.n_embedding, n, settings.n_layers, batch_first=True)
        self.head = nn.Linear(n, len(SYMBOLS))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the scores of all symbols where `y` asks for one, and what is asked for.

        A window is padded at its end, so that no position that predicts has read padding; and the
        head is not even computed where nothing is predicted.

        Args:
            x: Numbers of symbols, int64 [n, length].
            y: Those that follow, int64 [n, length]; 0 where nothing is predicted.

        Returns:
            Scores [n_predictions, n_symbols] and targets [n_predictions].
        """
        hidden, _ = self.lstm(self.embedding(x))
        asked = (y.flatten() != PADDING).nonzero().squeeze(1)
        return self.head(hidden.flatten(0, 1).index_select(0, asked)), y.flatten()[asked]


def seeded_network(settings: Settings, seed: int) -> CharacterLSTM:
    """A network whose first weights depend on the seed alone."""
    with first_weights(seed):
        return CharacterLSTM(settings)


def mean_loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy in nats, the mean over the predictions of a batch."""
    return nn.functional.cross_entropy(*network(x, y))


@torch.no_grad()
def n_correct(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Number of characters predicted rightly, a scalar tensor: nothing waits for a device."""
    scores, targets = network(x, y)
    return (scores.argmax(1) == targets).sum()
