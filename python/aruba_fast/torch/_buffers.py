"""Buffers of a model, such as BatchNorm's, that every task finds as they were before the first."""

from collections.abc import Iterable
from typing import Any

import torch


class Buffers:
    """Saves tensors when a task starts, and puts them back when phi comes back.

    Args:
        buffers: `model.buffers()` or `model.named_buffers()`; None for none.

    Raises:
        TypeError: Something else was given.
    """

    def __init__(self, buffers: Iterable[Any] | None) -> None:
        given = [] if buffers is None else buffers
        if isinstance(given, (torch.Tensor, torch.nn.Module)) or not isinstance(given, Iterable):
            given = [type(given).__name__]
        tensors = [entry[1] if isinstance(entry, tuple) else entry for entry in given]
        for entry in tensors:
            if not isinstance(entry, torch.Tensor):
                raise TypeError(
                    "MetaOptimizer: `buffers` must be tensors: got "
                    f"{entry if isinstance(entry, str) else type(entry).__name__}, "
                    "expected model.buffers()"
                )
        self._tensors = tensors
        self._saved: list[torch.Tensor] = []

    def save(self) -> None:
        """Keeps the values; if kept ones have not been forgotten since, puts these back instead."""
        if self._saved:
            self.restore()
        else:
            self._saved = [tensor.detach().clone() for tensor in self._tensors]

    def values(self) -> list[torch.Tensor]:
        """The buffers as every task finds them."""
        return self._saved or self._tensors

    def forget(self) -> None:
        """Lets the buffers be as they are from now on."""
        self._saved = []

    def restore(self) -> None:
        """Puts back what was kept, if anything was."""
        if self._saved:
            with torch.no_grad():
                for tensor, values in zip(self._tensors, self._saved, strict=True):
                    tensor.copy_(values)
