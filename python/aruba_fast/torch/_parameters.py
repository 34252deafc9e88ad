"""The parameters of a model, and views of flat vectors in their shapes."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from .. import _arrays

MASTERS = {
    torch.float32: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float16: torch.float32,
    torch.float64: torch.float64,
}


class Parameters:
    """Trainable parameters in a fixed order: their sizes, their type, where they live.

    Args:
        tensors: The parameters, each once.

    Raises:
        TypeError: Types do not go together, or devices.
        ValueError: There are none.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        name = "MetaOptimizer"
        if not any(p.numel() for p in tensors):
            raise ValueError(
                f"{name}: `params` must hold a parameter that requires a gradient: "
                f"got {len(tensors)} of them with 0 coordinates, expected at least 1"
            )
        first = next(p for p in tensors if p.numel())
        for p in tensors:
            if p.dtype not in MASTERS:
                raise TypeError(
                    f"{name}: `params` must be floating point: got {p.dtype}, "
                    "expected float32, float64, bfloat16 or float16"
                )
            if MASTERS[p.dtype] != MASTERS[first.dtype]:
                raise TypeError(
                    f"{name}: `params` must have one type: got {p.dtype} beside {first.dtype}, "
                    "expected float64 alone, or float32 with bfloat16 and float16"
                )
            if p.device != first.device:
                raise TypeError(
                    f"{name}: `params` must live on one device: got {p.device}, "
                    f"expected {first.device}"
                )
        if first.device.type not in ("cpu", "cuda"):
            raise TypeError(
                f"{name}: `params` must live in host memory or on a CUDA device: "
                f"got {first.device}, expected cpu or cuda"
            )
        self.tensors = list(tensors)
        self.shapes = [tuple(p.shape) for p in tensors]
        self.sizes = [p.numel() for p in tensors]
        self.scalars = [i for i, shape in enumerate(self.shapes) if not shape]
        self.dtype, self.device = MASTERS[first.dtype], first.device

    def views(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """Returns the parts of a flat vector in the shapes of the parameters."""
        parts = torch.split(flat, self.sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def for_steps(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Returns the tensors, with views [1] of those that have no dimension: kernels ask one."""
        result = list(tensors)
        for i in self.scalars:
            result[i] = result[i].detach().view(1)
        return result

    def joined(self, tensors: Iterable[torch.Tensor], out: torch.Tensor | None = None) -> Any:
        """Returns the tensors' values, row by row whatever their strides, as one flat vector."""
        with torch.no_grad():
            parts = [tensor.reshape(-1) for tensor in tensors]
            if out is not None:
                return torch.cat(parts, out=out)
            return torch.cat([part.to(self.dtype) for part in parts])

    def load(self, views: Sequence[torch.Tensor]) -> None:
        """Writes values in the shapes of the parameters into them, rounded to their types."""
        with torch.no_grad():
            torch._foreach_copy_(self.tensors, views)

    def masters(self, views: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[int]]:
        """Returns what steps work on, and which of these must be copied to the parameters after.

        A contiguous parameter of the right type is worked on where it is; of others there is a
        copy in `views`.

        Raises:
            ValueError: A parameter was given another shape, type or device.
        """
        # Off the host, arrays are handed over by `__dlpack__`, which autograd's leaves refuse.
        on_host = self.device.type == "cpu"
        where = list(self.tensors) if on_host else [p.detach() for p in self.tensors]
        copied = []
        for i, p in enumerate(self.tensors):
            if p.shape != self.shapes[i] or p.device != self.device or p.dtype not in MASTERS:
                raise ValueError(
                    f"MetaOptimizer: `params[{i}]` must stay as it was: got {tuple(p.shape)} on "
                    f"{p.device}, expected {self.shapes[i]} on {self.device}"
                )
            if p.dtype != self.dtype or not p.is_contiguous():
                where[i] = views[i]
                copied.append(i)
        return self.for_steps(where), copied

    def beside(self) -> AbstractContextManager[Any]:
        """Returns a context in which CuPy works on the current stream of PyTorch."""
        if self.device.type == "cpu":
            return nullcontext()
        stream = torch.cuda.current_stream(self.device)
        return _arrays.on_stream(stream.device_index, stream.cuda_stream)


def tensor(array: Any) -> torch.Tensor:
    """Returns an array of NumPy or CuPy as a tensor that shares its memory."""
    return torch.from_dlpack(array)


def array(values: torch.Tensor) -> Any:
    """Returns a tensor as an array of NumPy or CuPy that shares its memory."""
    if values.device.type == "cpu":
        return values.detach().numpy()
    import cupy

    return cupy.from_dlpack(values.detach())
