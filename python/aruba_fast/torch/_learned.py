"""What a `MetaOptimizer` has learned: the initialization, the rates, how far they have come."""

from typing import TYPE_CHECKING

import torch

from .. import _check
from ..learner import MetaLearner
from ._parameters import array, tensor

if TYPE_CHECKING:
    from ._flat import FlatState
    from ._parameters import Parameters


class Learned(torch.optim.Optimizer):
    """The base of `MetaOptimizer` that reads its state, and moves phi to and from the model."""

    _flat: "FlatState"
    _parameters: "Parameters"
    _phi: list[torch.Tensor]
    _rates: list[torch.Tensor]

    def _require_no_task(self, function: str) -> None:
        raise NotImplementedError

    def restore(self) -> None:
        """Loads phi into the parameters.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(1))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight])
            >>> weight.data.zero_()
            tensor([0.])
            >>> meta.restore()
            >>> weight.item()
            1.0
        """
        self._parameters.load(self._phi)

    def adopt(self) -> None:
        """Takes the parameters as they are for phi: pretrained weights, an outer optimizer's step.

        A value that the parameters still hold as phi gave it keeps the precision of phi.

        Raises:
            ValueError: A parameter is not finite. Nothing is changed.
            RuntimeError: A task is open, or the round holds tasks, which ran from the old phi.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(1))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight])
            >>> weight.data.fill_(7.0)
            tensor([7.])
            >>> meta.adopt()
            >>> meta.learners[0].phi
            array([7.], dtype=float32)
        """
        name = "MetaOptimizer.adopt"
        self._require_no_task(name)
        if self._flat.n_waiting:
            raise RuntimeError(
                f"{name}: the round must hold no task: got {self._flat.n_waiting}, "
                "expected `step` before"
            )
        own = self._parameters
        with torch.no_grad(), own.beside():
            now = own.joined(own.tensors)
            rounded = [v.to(p.dtype) for v, p in zip(self._phi, own.tensors, strict=True)]
            kept = now == own.joined(rounded)
            _check.finite(name, "params", array(now))
            for key in ("phi", "phi_master"):
                values = tensor(self._flat.arrays[key])
                values.copy_(torch.where(kept, values, now.to(values.dtype)))

    @property
    def learners(self) -> tuple[MetaLearner, ...]:
        """The `MetaLearner` of every block of parameters that is learned by itself, in order."""
        return tuple(self._flat.learners)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """The parameters that are learned, in the order of everything that is told of them."""
        return list(self._parameters.tensors)

    def learning_rates(self) -> list[torch.Tensor]:
        """Returns the learning rate of every coordinate, a tensor for each of `parameters`.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(2))
            >>> aruba_fast.torch.MetaOptimizer([weight], learning_rate=0.5).learning_rates()
            [tensor([0.5000, 0.5000])]
        """
        return [rate.clone() for rate in self._rates]

    def rho(self) -> list[torch.Tensor]:
        """Returns `MetaLearner.rho` of the last round, a float64 tensor for each of `parameters`.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(1))
            >>> aruba_fast.torch.MetaOptimizer([weight]).rho()
            [tensor([nan], dtype=torch.float64)]
        """
        return [r.clone() for r in self._parameters.views(tensor(self._flat.arrays["rho"]))]

    @property
    def n_tasks(self) -> int:
        """Number of tasks learned from."""
        return self._flat.learners[0].n_tasks

    @property
    def n_skipped(self) -> int:
        """Number of tasks left out because they were not finite."""
        return self._flat.learners[0].n_skipped
