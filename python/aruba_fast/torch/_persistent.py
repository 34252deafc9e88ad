"""Saving, loading and copying of a `MetaOptimizer`."""

import os
from dataclasses import asdict
from typing import Any

from .. import _arrays, checkpoint
from ._learned import Learned
from ._parameters import array, tensor

KIND = "MetaOptimizer"


class Persistent(Learned):
    """The base of `MetaOptimizer` that knows how its state leaves and comes back."""

    def _attach(self) -> None:
        raise NotImplementedError

    def _view(self) -> None:
        raise NotImplementedError

    def _layout(self) -> dict[str, Any]:
        """What a state must agree in to be this optimizer's."""
        return {
            "shapes": [list(shape) for shape in self._parameters.shapes],
            "blocks": [[n, asdict(hyper)] for n, hyper in self._flat.blocks],
        }

    def _take(self, arrays: dict[str, Any], layout: dict[str, Any]) -> None:
        """Takes a state; raises a ValueError without the name of the function."""
        for name, own in self._layout().items():
            if layout.get(name) != own:
                raise ValueError(f"its {name} are {layout.get(name)}, expected {own}")
        with self._parameters.beside():
            self._flat.restore(arrays)
        self.restore()

    def state_dict(self) -> dict[str, Any]:
        """Returns a copy of the whole state, that of an open round included.

        Returns:
            `state`, flat tensors by name; `param_groups`; `layout`, the shapes and hyperparameters
            that a state must agree in to be loaded. Good for `torch.save` and `weights_only=True`.

        Raises:
            RuntimeError: A task is open.

        Example:
            >>> import torch, aruba_fast.torch
            >>> meta = aruba_fast.torch.MetaOptimizer([torch.nn.Parameter(torch.ones(2))])
            >>> meta.state_dict()["state"]["b"]
            tensor([1., 1.], dtype=torch.float64)
        """
        self._require_no_task("MetaOptimizer.state_dict")
        result: dict[str, Any] = super().state_dict()
        with self._parameters.beside():
            result["state"] = {name: tensor(a) for name, a in self._flat.export().items()}
        result["layout"] = self._layout()
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
        try:
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
        try:
            arrays, layout, checksum = checkpoint.read(path, KIND)
            if checkpoint.checksum(arrays, layout) != checksum:
                raise ValueError("damaged (its checksum is another)")
            self._take(arrays, layout)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{name}: `path` must be a checkpoint of this MetaOptimizer: "
                f"got {os.fspath(path)!r}, which is refused: {error}"
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        self._require_no_task("MetaOptimizer.__getstate__")
        state: dict[str, Any] = super().__getstate__()
        return {**state, "_flat": self._flat}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._attach()
        self._view()
