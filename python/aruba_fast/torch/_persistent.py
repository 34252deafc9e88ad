"""Saving, loading and copying of a `MetaOptimizer`."""

import copy
import operator
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from .. import _arrays, checkpoint
from .._state import Hyperparameters
from .._version import FORMAT, require_readable
from ._buffers import Buffers
from ._groups import trainable
from ._learned import Learned
from ._parameters import array, tensor

KIND = "MetaOptimizer"
# What `_attach` and `_view` make; the rest of an object, a subclass's attributes too, goes along.
_MADE = {
    *("_parameters", "_active", "_open", "_phi", "_rates", "_sums", "_masters", "_where"),
    *("_copied", "_step_rates", "_versions", "_collector", "_stepper", "_searcher"),
    *("_all_rates", "_read_rates"),
    *("_fixed", "_left", "_left_alone", "_agreed"),
    *("step", "_opt_called"),  # as a scheduler has wrapped it
}
# PyTorch's own, which it makes again.
_TORCHS = ("_optimizer_", "_zero_grad_profile_name", "_warned_capturable")
# Layers of the names of parameters that come and go with compiling and distributing a model.
_WRAPPERS = ("_orig_mod", "module")


class Persistent(Learned):
    """The base of `MetaOptimizer` that knows how its state leaves and comes back."""

    # All parameters that are learned, whether they are frozen by now or not.
    _tensors: list[torch.Tensor]

    def _attach(self) -> None:
        raise NotImplementedError

    def _view(self) -> None:
        raise NotImplementedError

    def _layout(self) -> dict[str, Any]:
        """What a state must agree in to be this optimizer's."""
        given = [p for group in self.param_groups for p in group["params"]]
        ours = {id(p) for p in self._tensors}
        which = [i for i, p in enumerate(given) if id(p) in ours]
        return {
            "shapes": [list(shape) for shape in self._parameters.shapes],
            "blocks": [[n, asdict(hyper)] for n, hyper in self._flat.blocks],
            "parameters": {
                "of": len(given),
                "numbers": which,
                "names": self._names(),
            },
        }

    def _take(self, arrays: dict[str, Any], layout: dict[str, Any]) -> None:
        """Takes a state; raises a ValueError without the name of the function."""
        if not isinstance(layout, dict):
            raise ValueError(f"its layout is {layout!r}, expected shapes and hyperparameters")
        own = self._layout()
        for name, same in _AGREE.items():
            found = layout.get(name)
            try:
                agrees = same(found, own[name])
            except (TypeError, KeyError):
                agrees = False
            if not agrees:
                raise ValueError(f"its {name} are {found}, expected {own[name]}")
        with self._parameters.beside():
            self._flat.restore(arrays)
        self._agreed = None
        self.restore()

    def state_dict(self) -> dict[str, Any]:
        """Returns a copy of the whole state, that of an open round included.

        Returns:
            `state`, flat tensors by name; `param_groups`; `layout`, the shapes and hyperparameters
            that a state must agree in to be loaded; `version`, of their format. Good for
            `torch.save` and `weights_only=True`.

        Raises:
            RuntimeError: A task is open.

        Example:
            >>> import torch, aruba_fast.torch
            >>> meta = aruba_fast.torch.MetaOptimizer([torch.nn.Parameter(torch.ones(2))])
            >>> meta.state_dict()["state"]["b"]
            tensor([0., 0.], dtype=torch.float64)
        """
        self._require_no_task("MetaOptimizer.state_dict")
        result: dict[str, Any] = super().state_dict()
        with self._parameters.beside():
            result["state"] = {name: tensor(a) for name, a in self._flat.export().items()}
        result["layout"] = self._layout()
        result["version"] = FORMAT
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state that `state_dict` gave, and moves the model to its phi.

        What follows has the same bits as if nothing had been interrupted. The model must have the
        same shapes and the optimizer the same hyperparameters.

        Args:
            state_dict: What `state_dict` returned; its tensors are copied, from any device.

        Raises:
            ValueError: It is not the state of such an optimizer. Nothing is changed.
            RuntimeError: A task is open.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(1))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight])
            >>> state = meta.state_dict()
            >>> state["state"]["phi"].fill_(2.0); state["state"]["phi_master"].fill_(2.0)
            tensor([2.])
            tensor([2.], dtype=torch.float64)
            >>> meta.load_state_dict(state)
            >>> weight.item()
            2.0
        """
        name = "MetaOptimizer.load_state_dict"
        self._require_no_task(name)
        self._parameters.require(name)
        try:
            require_readable(state_dict.get("version", 1))
            arrays = {k: array(t.cpu()) for k, t in state_dict["state"].items()}
            self._take(arrays, state_dict["layout"])
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(
                f"{name}: `state_dict` must be of this MetaOptimizer: it is refused: {error}"
            ) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the whole state as a safetensors file, to resume bit for bit.

        The file is written beside `path` and renamed: a failed save leaves the old file as it was.

        Args:
            path: The file; replaced if it exists.

        Raises:
            OSError: The file cannot be written.
            RuntimeError: A task is open.

        Example:
            >>> import tempfile, torch, aruba_fast.torch
            >>> meta = aruba_fast.torch.MetaOptimizer([torch.nn.Parameter(torch.ones(1))])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     meta.save(f"{folder}/meta.safetensors")
            ...     meta.load(f"{folder}/meta.safetensors")
        """
        self._require_no_task("MetaOptimizer.save")
        with self._parameters.beside():
            arrays = {name: _arrays.host(a) for name, a in self._flat.export().items()}
        checkpoint.write(path, arrays, self._layout(), KIND)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Takes the state of a file that `save` wrote, and moves the model to its phi.

        Args:
            path: The file.

        Raises:
            OSError: The file cannot be read.
            ValueError: The file is damaged, truncated, of a newer version, or not of such an
                optimizer; the message gives the reason. Nothing is changed.
            RuntimeError: A task is open.

        Example:
            >>> import tempfile, torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(1))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     meta.save(f"{folder}/meta.safetensors")
            ...     weight.data.zero_()
            ...     meta.load(f"{folder}/meta.safetensors")
            tensor([0.])
            >>> weight.item()
            1.0
        """
        name = "MetaOptimizer.load"
        self._require_no_task(name)
        self._parameters.require(name)
        try:
            arrays, layout, checksum = checkpoint.read(path, KIND)
            checkpoint.require_whole(arrays, layout, checksum)
            self._take(arrays, layout)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{name}: `path` must be a checkpoint of this MetaOptimizer: "
                f"got {os.fspath(path)!r}, which is refused: {error}"
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        if self._open.locked():
            raise RuntimeError(
                "MetaOptimizer: no task must be open where it is copied or pickled: got a call "
                "within `with meta.task()`, expected it after the task"
            )
        own = {k: v for k, v in vars(self).items() if k not in _MADE and not k.startswith(_TORCHS)}
        return {**own, **super().__getstate__()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({"_buffers": Buffers(None), "_at_phi": True, "_wholes": [], **state})
        self._fix()
        if "_tensors" not in state:  # of before, when it was made of what is not frozen
            self._tensors = trainable(self.param_groups)
        self._attach()
        self._view()
        self._left = []

    def __copy__(self) -> "Persistent":
        made = type(self).__new__(type(self))
        own = {name: copy.copy(getattr(self, name)) for name in ("_flat", "_buffers")}
        made.__setstate__({**self.__getstate__(), **own})
        return made


def _same_blocks(found: Any, own: Any) -> bool:
    """Whether the hyperparameters agree; what a file is too old to have has its default."""
    if any(len(block) != 2 for block in found):
        return False
    blocks = [[(n, Hyperparameters.stored(h)) for n, h in every] for every in (found, own)]
    return blocks[0] == blocks[1]


def _same_parameters(found: Any, own: Any) -> bool:
    """Whether the same parameters are learned: by name where both have names, else by number.

    Of two equal layers one may be frozen there and the other one here.
    """
    if found is None:  # a file of before, which tells shapes alone
        return True
    names = [
        None if names is None else [[k for k in n.split(".") if k not in _WRAPPERS] for n in names]
        for names in (found["names"], own["names"])
    ]
    if None not in names:
        return bool(names[0] == names[1])
    return bool((found["of"], found["numbers"]) == (own["of"], own["numbers"]))


_AGREE: dict[str, Callable[[Any, Any], bool]] = {
    "shapes": operator.eq,
    "blocks": _same_blocks,
    "parameters": _same_parameters,
}
