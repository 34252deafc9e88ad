"""The steps of a task in which no single row can be seen, of a model of PyTorch."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from .. import _check
from ..federated._private import Privacy
from ..privacy import RecordPrivacy
from ..privacy._noise import normal

_NAME = "private_steps"
_MARK = "_aruba_private"
# Numbers of the gradients of single rows that are held at once.
_AT_ONCE = 1 << 24

Gradients = dict[str, torch.Tensor]


def private_steps(
    optimizer: torch.optim.Optimizer,
    model: torch.nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    privacy: RecordPrivacy,
    *,
    seed: int | None = None,
) -> None:
    """Takes the steps of a task with clipped gradients of single rows, and noise in each step.

    This does for any model what `RecordPrivacy` does for linear ones. One call is a whole task: it
    takes `privacy.n_steps` steps, each on all rows, whose noise is that of one answer. Call it
    within `MetaOptimizer.task`, or in the `train` of `MetaOptimizer.answer`, with `round.privacy`.

    Args:
        optimizer: The optimizer of the task.
        model: The model; its parameters that require a gradient, in their order, are those of
            `privacy.scale`. A layer that mixes rows is refused.
        loss: The loss of a batch, `loss(model(x), y)`; it gets one row at a time.
        x: The inputs of the model, [n_rows, ...].
        y: The targets of the loss, [n_rows, ...].
        privacy: Clip, noise and steps.
        seed: Of the noise, for tests: whoever knows it sees through the noise. None for the
            system's secure generator.

    Raises:
        TypeError: `privacy` is no RecordPrivacy.
        ValueError: Sizes do not fit, or a layer of BatchNorm is training. Nothing was changed.

    Example:
        >>> import numpy as np, torch, aruba_fast.torch
        >>> from aruba_fast.privacy import RecordPrivacy
        >>> model = torch.nn.Linear(3, 1)
        >>> meta = aruba_fast.torch.MetaOptimizer(model.parameters(), learning_rate=0.1)
        >>> privacy = RecordPrivacy(np.ones(4), noise=1.0, n_rows=50)
        >>> x, y = torch.randn(50, 3), torch.randn(50, 1)
        >>> with meta.task() as optimizer:
        ...     aruba_fast.torch.private_steps(
        ...         optimizer, model, torch.nn.functional.mse_loss, x, y, privacy
        ...     )
        >>> meta.step(meta_step=1.0)
        >>> meta.n_tasks
        1

    Source: Abadi et al., CCS 2016; Li, Khodak, Caldas and Talwalkar, ICLR 2020.
    """
    if not isinstance(privacy, RecordPrivacy):
        raise TypeError(
            f"{_NAME}: `privacy` must be a RecordPrivacy: got {_check.shown(privacy)}, expected "
            "RecordPrivacy(scale, noise, n_rows)"
        )
    if any(isinstance(layer, _BatchNorm) and layer.training for layer in model.modules()):
        raise ValueError(
            f"{_NAME}: `model` must treat each row by itself: got BatchNorm that is training, "
            "expected GroupNorm, or model.eval()"
        )
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    sizes = [p.numel() for p in parameters.values()]
    if sum(sizes) != len(privacy.scale):
        raise ValueError(
            f"{_NAME}: `privacy` must have a scale for each weight of `model`: got "
            f"{len(privacy.scale)}, expected {sum(sizes)}"
        )
    if len(x) != len(y):
        raise ValueError(
            f"{_NAME}: `y` must have a label for each row of `x`: got {len(y)}, expected {len(x)}"
        )
    if seed is not None:
        seed = _check.integer(_NAME, "seed", seed, 0)
    rng = None if seed is None else np.random.default_rng(seed)
    noise = privacy.deviations * normal((privacy.n_steps, sum(sizes)), rng)
    sums = _ClippedSums(model, loss, parameters, privacy)
    for own in np.split(noise, privacy.n_steps):
        total = sums.of(x, y)
        parts = np.split(own.ravel(), np.cumsum(sizes)[:-1])
        for (name, p), part in zip(parameters.items(), parts, strict=True):
            added = torch.from_numpy(part).to(p.device).reshape(p.shape)
            # The noise is added in float64, and rounded with what it hides.
            p.grad = (total[name].double() / privacy.n_rows + added).to(p.dtype)
        optimizer.step()
    mark_private(optimizer, privacy)


def mark_private(optimizer: torch.optim.Optimizer, privacy: RecordPrivacy | None) -> None:
    """Notes that all steps so far were private; None: nothing is known of them."""
    setattr(optimizer, _MARK, privacy)


def require_private(optimizer: torch.optim.Optimizer, privacy: Privacy) -> None:
    """Refuses what a task has told where single rows can be seen and must not."""
    if isinstance(privacy, RecordPrivacy) and getattr(optimizer, _MARK) != privacy:
        raise RuntimeError(
            "MetaOptimizer.answer: `train` must take its steps by private_steps, where the server "
            "asks for a RecordPrivacy: got others, expected private_steps(optimizer, model, loss, "
            "x, y, round.privacy)"
        )


class _ClippedSums:
    """Sums of the gradients of single rows, each clipped.

    Args:
        model: The model.
        loss: The loss of a batch.
        parameters: What is learned of it.
        privacy: Scale and clip.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        parameters: Gradients,
        privacy: RecordPrivacy,
    ) -> None:
        def of_row(values: Gradients, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return loss(functional_call(model, values, (x[None],)), y[None])

        self._of_rows: Callable[..., Any] = vmap(
            grad(of_row), in_dims=(None, 0, 0), randomness="different"
        )
        self._parameters = parameters
        self._most = privacy.clip * math.sqrt(len(privacy.scale))
        parts = np.split(
            1.0 / privacy.scale, np.cumsum([p.numel() for p in parameters.values()])[:-1]
        )
        self._inverse = {
            name: torch.from_numpy(part.copy()).to(p).reshape(p.shape)
            for (name, p), part in zip(parameters.items(), parts, strict=True)
        }
        self._at_once = max(1, _AT_ONCE // len(privacy.scale))

    def of(self, x: torch.Tensor, y: torch.Tensor) -> Gradients:
        """Where the parameters are now."""
        values = {name: p.detach() for name, p in self._parameters.items()}
        total = {name: torch.zeros_like(p) for name, p in values.items()}
        if not len(x):
            return total
        for rows, labels in zip(x.split(self._at_once), y.split(self._at_once), strict=True):
            grads: Gradients = self._of_rows(values, rows, labels)
            squares = [
                (grads[name] * inverse).flatten(1).double().square().sum(1)
                for name, inverse in self._inverse.items()
            ]
            lengths = torch.stack(squares).sum(0).sqrt()
            finite = lengths.isfinite()
            part = (self._most / lengths).clamp(max=1.0)[finite]
            for name, each in grads.items():
                clipped = torch.einsum("r,r...->...", part.to(each.dtype), each[finite])
                total[name] = total[name] + clipped
        return total
