"""What a `MetaOptimizer` has learned: the initialization, the rates, how far they have come."""

import threading
from typing import TYPE_CHECKING

import torch

from .. import _arrays, _check, _divergence
from .._deprecated import CalledList, warn_renamed
from .._diagnosis import Diagnosis, diagnosis
from ..learner import MetaLearner
from ._errors import warn
from ._fixed import Fixed
from ._groups import HYPERPARAMETERS
from ._parameters import array, tensor

if TYPE_CHECKING:
    from ._buffers import Buffers
    from ._flat import FlatState
    from ._parameters import Parameters


class Learned(Fixed):
    """The base of `MetaOptimizer` that reads its state, and moves phi to and from the model."""

    _owner = "MetaOptimizer"
    _schedule = (
        "`step(meta_step=...)` for the step of the initialization, a float or a function of the "
        "number of tasks"
    )
    _keys = HYPERPARAMETERS
    _buffers: "Buffers"
    # Whether the parameters hold phi, unless somebody else wrote to them.
    _at_phi: bool
    # What PyTorch knows of writes to them, as they were left.
    _left: list[tuple[int, int]]
    _flat: "FlatState"
    # Held while a task is open.
    _open: threading.Lock
    _parameters: "Parameters"
    _phi: list[torch.Tensor]
    _rates: list[torch.Tensor]
    # The group whose ranks were found to start from the same state; None after a change from here.
    _agreed: object

    def _require_no_task(self, function: str) -> None:
        raise NotImplementedError

    def _names(self) -> list[str] | None:
        """The names of the parameters that are learned, where they were given."""
        named = {
            id(p): name
            for group in self.param_groups
            for p, name in zip(group["params"], group.get("param_names", ()), strict=False)
        }
        return [named[id(p)] for p in self._parameters.given] if named else None

    def restore(self) -> None:
        """Loads phi into the parameters, and puts back `buffers` if they were given.

        Raises:
            ValueError: A parameter was given another shape or type. Nothing is changed.

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
        self._parameters.require("MetaOptimizer.restore")
        self._load_phi()
        if not self._open.locked():
            self._buffers.forget()

    def _load_phi(self) -> None:
        self._parameters.load(self._phi)
        self._buffers.restore()
        self._at_phi, self._left = True, self._parameters.marks()

    def _require_phi(self, function: str, *, at_any_cost: bool = True) -> None:
        """Tells whoever wrote to the parameters that phi is about to be written over that.

        Not after `rule`, which is there to move them. Comparing values takes 0.5 ns for each,
        and waits for a CUDA device.

        Args:
            function: The name of the caller.
            at_any_cost: Without it, and on a device once something is learned, values are compared
                only where PyTorch knows that somebody wrote, which through `.data` it does not.
        """
        fresh = self._flat.fresh
        if not self._at_phi:
            return
        at_any_cost = at_any_cost and self._parameters.device.type == "cpu"
        if not (fresh or at_any_cost) and self._left == self._parameters.marks():
            return
        everywhere = range(len(self._phi))
        if (i := self._parameters.other_than(self._phi, everywhere)) is None:
            return
        text = (
            f"{function}: the parameters must hold phi between tasks: got other values in "
            f"`params[{i}]`, which phi is to be written over, expected `adopt()` before to start "
            "from them (weights that were loaded, another optimizer's step), or `restore()`"
        )
        if fresh:
            raise ValueError(text)
        warn(text)

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
        self._parameters.require(name)
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
        self._buffers.forget()
        self._at_phi, self._left = True, self._parameters.marks()
        self._agreed = None

    @property
    def learners(self) -> tuple[MetaLearner, ...]:
        """The `MetaLearner` of every block of parameters that is learned by itself, in order."""
        return tuple(self._flat.learners)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """The parameters that are learned, in the order of everything that is told of them."""
        return list(self._parameters.given)

    @property
    def learning_rate(self) -> list[torch.Tensor]:
        """The learning rate of every coordinate, a tensor for each of `parameters`; a copy.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(2))
            >>> aruba_fast.torch.MetaOptimizer([weight], learning_rate=0.5).learning_rate
            [tensor([0.5000, 0.5000])]
        """
        return [rate.clone() for rate in self._rates]

    def learning_rates(self) -> list[torch.Tensor]:
        """What `learning_rate` was in the version before."""
        warn_renamed("MetaOptimizer.learning_rates()", "MetaOptimizer.learning_rate")
        return self.learning_rate

    @property
    def rho(self) -> list[torch.Tensor]:
        """`MetaLearner.rho` of the last round, a float64 tensor for each of `parameters`; a copy.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(1))
            >>> aruba_fast.torch.MetaOptimizer([weight]).rho
            [tensor([nan], dtype=torch.float64)]
        """
        rho = self._parameters.views(tensor(self._flat.arrays["rho"]))
        return CalledList("MetaOptimizer.rho", [r.clone() for r in rho])

    def diagnose(self) -> Diagnosis:
        """Returns the learned rates in words, and what looks wrong; `print` shows a table.

        Returns:
            As `MetaLearner.diagnose`, of all blocks together, with a line for each parameter, by
            the names of `named_parameters()` where these were given.

        Example:
            >>> import torch, aruba_fast.torch
            >>> model = torch.nn.Linear(3, 2)
            >>> meta = aruba_fast.torch.MetaOptimizer(model.named_parameters(), learning_rate=0.1)
            >>> print(meta.diagnose())
            tasks    0, none skipped
            rates    0.1 from 0.1 to 0.1; they began at 0.1
            rho      nan, at rest 1
            prior    100.0 % of g
            coordinates     rates 5 to 95 %                  rho     prior
                      6       0.1 0.1 to 0.1                nan   100.0 %  weight
                      2       0.1 0.1 to 0.1                nan   100.0 %  bias
        """
        with self._parameters.beside():
            blocks = [
                ({name: _arrays.host(a) for name, a in learner._arrays.items()}, learner._hyper)
                for learner in self._flat.learners
            ]
        own = self._parameters
        names = self._names() or map(str, range(len(own.sizes)))
        tensors = [(name, n) for name, n in zip(names, own.sizes, strict=True) if n]
        return diagnosis(blocks, diverged=_divergence.was_said(self), tensors=tensors)

    @property
    def n_tasks(self) -> int:
        """Number of tasks learned from."""
        return self._flat.learners[0].n_tasks

    @property
    def n_skipped(self) -> int:
        """Number of tasks left out because they were not finite."""
        return self._flat.learners[0].n_skipped
