"""Meta-training of one method: Reptile, with whatever moves the weights within a task."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aruba_fast.datasets import Episodes

from ..batches import mini_batches
from ..networks import restore, state_of
from .methods import Method
from .network import network
from .settings import Settings

Images = NDArray[Any]
Compiled = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class OmniglotTraining:
    """Reptile on n-way tasks of training characters; a `Training` that `Run` advances.

    The initialization goes from phi to phi + (1 - i / n) (mean of theta_hat - phi) in
    meta-iteration i of n, whatever the method; ARUBA's rates are learned beside it, for which its
    first tasks find the first rate. Adam's state goes on over tasks, as in Reptile's code.

    Args:
        images: Drawings [n_characters, n_drawings, 28, 28], 1 where there is ink.
        characters: Rows of `images` to train on; each counts four times, turned.
        method: How weights move within a task.
        settings: Sizes and steps.
        seed: Seed of the network, the tasks and the mini-batches.
        device: Where the network is.
        compiled: Whether PyTorch compiles the network (a C++ compiler must be there).

    Source: Nichol, Achiam and Schulman, "On first-order meta-learning algorithms" (2018).
    """

    def __init__(
        self,
        images: Images,
        characters: NDArray[np.int64],
        method: Method,
        settings: Settings,
        seed: int = 0,
        *,
        device: str = "cpu",
        compiled: bool = False,
    ) -> None:
        self.method, self.settings, self.seed = method, settings, seed
        self.model = network(settings.n_way, seed).to(device)
        self.meta = method.meta(self.model.parameters())
        self.inner = method.inner(self.meta.parameters, settings)
        self._device = torch.device(device)
        self.loss: Compiled = self._loss
        if compiled:
            # The sizes of batches are few and fixed, and kernels for one size are faster.
            self.loss = torch.compile(self._loss, dynamic=False)
        self._episodes = Episodes(
            images,
            characters,
            n_way=settings.n_way,
            k_shot=settings.train_shots,
            n_query=0,
            rotations=True,
            seed=seed,
        )

    def _loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.model(x), y)

    def round(self, number: int) -> None:
        """Does a meta-iteration."""
        own = self.settings
        first = number * own.meta_batch
        tasks = self._episodes.batch(first, own.meta_batch)
        x, y = paper(tasks.support_x, self._device), tensor(tasks.support_y, self._device)
        rows = mini_batches(
            *(self.seed, first, own.meta_batch),
            n_samples=own.n_way * own.train_shots,
            batch=own.inner_batch,
            steps=own.inner_steps,
        )
        for task, batches in enumerate(tensor(rows, self._device)):
            with self.meta.task(optimizer=self.inner) as optimizer:
                for batch in batches:
                    optimizer.zero_grad()
                    self.loss(x[task, batch], y[task, batch]).backward()
                    optimizer.step()
        self.meta.step(own.meta_step * (1.0 - number / own.meta_iterations))

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Returns the meta-state, and that of Adam."""
        return state_of(self.meta, self.inner)

    def restore(self, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Takes what `state` gave."""
        restore(self.meta, self.inner, arrays, facts)


def paper(ink: NDArray[Any], device: torch.device) -> torch.Tensor:
    """What the network sees: 1 is paper and 0 is ink, with an axis for the one channel."""
    return tensor(1.0 - ink, device).unsqueeze(-3)


def tensor(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array as a tensor on the device."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
