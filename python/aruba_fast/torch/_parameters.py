"""The parameters of a model, and views of flat vectors in their shapes."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from .. import _arrays, _core

MASTERS = {
    torch.float32: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float16: torch.float32,
    torch.float64: torch.float64,
}
# Up to here `torch.equal` is the faster one; a million float32 take NumPy 0.11 ms, and it 0.5 to 1.
_SMALL = 1 << 12


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
        # What is sharded over processes, as by FSDP2, is learned where its shards are.
        self.given = tuple(tensors)
        self.sharded = any(map(is_sharded, tensors))
        self.group = _group_of(tensors)
        tensors = [local(p) for p in tensors]
        for i, p in enumerate(tensors):
            if torch.nn.parameter.is_lazy(p):
                raise ValueError(
                    f"{name}: `params` must have a shape: got a lazy layer's parameter at {i}, "
                    "expected one call of the model before"
                )
            # FakeTensor and the like: no memory of their own, or not all of it.
            kind = type(p)
            own = kind.__torch_dispatch__ is torch.Tensor.__torch_dispatch__ and not p.is_neg()
            if not own or 0 in (s for s, n in zip(p.stride(), p.shape, strict=True) if n > 1):
                raise TypeError(
                    f"{name}: `params` must be plain tensors: got a {kind.__name__} at {i} that is "
                    "spread, expanded or negated, expected memory of its own for each coordinate"
                )
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
        # What `require` found to be right; asking for the same again is cheap.
        self._accepted: list[Any] = []
        self._everyone, self._quick = range(len(tensors)), False

    def grads(self) -> tuple[Sequence[Any], bool]:
        """Returns the gradients, of what is sharded those of the shards; and whether one is None.

        Those of parameters that have no dimension are views [1].
        """
        found, has_none = _core.gradients(self.given)
        if not (self.sharded or self.scalars):
            return found, has_none
        grads: list[Any] = [None if grad is None else local(grad) for grad in found]
        for i in self.scalars:
            grads[i] = None if grads[i] is None else grads[i].reshape(1)
        return grads, has_none

    def written(self, which: Sequence[int]) -> None:
        """Tells autograd of DTensors whose shards were written to; of these the steps tell."""
        if self.sharded:
            torch.autograd.graph.increment_version([self.given[i] for i in which])

    def sharded_over(self) -> Any:
        """Returns the processes whose shards are the whole, each of its coordinates once.

        Raises:
            ValueError: Theirs are not.
        """
        name = "MetaOptimizer"
        if self.group is None or not all(map(is_sharded, self.given)):
            raise ValueError(
                f"{name}: `params` must all be sharded over one dimension of one mesh where sums "
                "over all weights are learned from: got others, expected fully_shard of the whole "
                "model, or numbers for `learning_rate` and `zeta`, isotropic=False and "
                "train='learned'"
            )
        if self.device.type != "cpu":
            raise ValueError(
                f"{name}: `params` must live in host memory where they are sharded and sums over "
                f"all weights are learned from: got {self.device}, expected cpu, or numbers for "
                "`learning_rate` and `zeta`, isotropic=False and train='learned'"
            )
        return self.group

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

    def require(self, function: str) -> None:
        """Refuses a parameter that was given another shape, type or device, or cannot be learned.

        Raises:
            ValueError: There is one.
        """
        if self.sharded:
            for i, (p, own) in enumerate(zip(self.given, self.tensors, strict=True)):
                if local(p).data_ptr() != own.data_ptr():
                    raise ValueError(
                        f"{function}: `params[{i}]` must keep the memory of its shard: got another "
                        "one, expected a new MetaOptimizer after the model was sharded anew"
                    )
        found = self._told()
        if found == self._accepted:
            return
        for i, p in enumerate(self.tensors):
            if not self._as_made(i):
                raise ValueError(
                    f"{function}: `params[{i}]` must stay as it was: got {p.dtype} "
                    f"{tuple(p.shape)} on {p.device}, expected {self.dtype} {self.shapes[i]} on "
                    f"{self.device}, or a new MetaOptimizer"
                )
            if p.is_inference():
                raise ValueError(
                    f"{function}: `params[{i}]` must not be an inference tensor: got a model made "
                    "or loaded under torch.inference_mode, expected that outside of it"
                )
        self._accepted = found
        self._quick = max(self.sizes) <= _SMALL and all(p.dtype == self.dtype for p in self.tensors)

    def _told(self) -> list[Any]:
        return [(p.shape, p.dtype, p.device) for p in self.tensors]

    def _as_made(self, i: int) -> bool:
        p = self.tensors[i]
        same = p.shape == self.shapes[i] and p.device == self.device
        return bool(same and MASTERS.get(p.dtype) == self.dtype)

    def mend(self) -> None:
        """Gives parameters of another shape, type or device memory as they had, of any values."""
        if self._told() != self._accepted:
            for i, p in enumerate(self.tensors):
                if not self._as_made(i):
                    dtype = p.dtype if MASTERS.get(p.dtype) == self.dtype else self.dtype
                    p.data = torch.empty(self.shapes[i], dtype=dtype, device=self.device)

    def require_memory(
        self, function: str, where: Sequence[torch.Tensor], but: Sequence[int]
    ) -> None:
        """Refuses a parameter whose memory is no longer that which steps have worked on.

        Args:
            function: The name of the caller.
            where: What steps have worked on.
            but: The parameters that have a master copy.

        Raises:
            ValueError: There is one: a tensor without dimensions, of which steps work on a view.
        """
        copied = set(but)
        for i, (p, own) in enumerate(zip(self.tensors, where, strict=True)):
            if p is own or i in copied or p.data_ptr() == own.data_ptr():
                continue
            raise ValueError(
                f"{function}: `params[{i}]` must keep its memory within a task: got other "
                "`.data`, expected values written to what is there, as by `p.copy_(values)`"
            )

    def marks(self) -> list[tuple[int, int]]:
        """Returns what is another one after a parameter was written to, but not through `.data`."""
        return [(p._version, p.data_ptr()) for p in self.tensors]

    def other_than(self, views: Sequence[torch.Tensor], which: Iterable[int]) -> int | None:
        """Returns the first parameter of those that holds other values than its view, rounded."""
        if self._quick and which == self._everyone and all(map(torch.equal, self.tensors, views)):
            return None
        return next((i for i in which if not _equal(self.tensors[i], views[i])), None)

    def masters(self, views: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[int]]:
        """Returns what steps work on, and which of these must be copied to the parameters after.

        A contiguous parameter of the right type is worked on where it is; of others there is a
        copy in `views`.
        """
        where = list(self.tensors)
        copied = []
        for i, p in enumerate(self.tensors):
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


def is_sharded(p: torch.Tensor) -> bool:
    """Whether a tensor is one of several processes, of which this one has its own part."""
    return hasattr(p, "to_local")


def _group_of(tensors: Iterable[Any]) -> Any:
    """The processes that all shards are spread over; None where that is not one group."""
    groups = set()
    for p in filter(is_sharded, tensors):
        over = [i for i, each in enumerate(getattr(p, "placements", ())) if each.is_shard()]
        groups.add(p.device_mesh.get_group(over[0]) if len(over) == 1 else None)
    return groups.pop() if len(groups) == 1 else None


def local(p: torch.Tensor) -> torch.Tensor:
    """Returns the part of a tensor that lives in this process, in its memory; of most, itself."""
    if not is_sharded(p):
        return p
    # `to_local` is an operation of autograd, and makes another tensor in every call.
    part = getattr(p, "_local_tensor", None)
    if type(part) is not torch.Tensor:  # one that is on its way, for which `to_local` waits
        part = p.to_local()
    return part.detach() if part.requires_grad else part  # type: ignore[union-attr]


def _equal(p: torch.Tensor, values: torch.Tensor) -> bool:
    if p.dtype != values.dtype:
        values = values.to(p.dtype)
    elif p.numel() > _SMALL and p.device.type == "cpu":
        return bool((p.detach().numpy() == values.numpy()).all())
    return bool(torch.equal(p, values))


def tensor(array: Any) -> torch.Tensor:
    """Returns an array of NumPy or CuPy as a tensor that shares its memory."""
    return torch.from_dlpack(array)


def array(values: torch.Tensor) -> Any:
    """Returns a tensor as an array of NumPy or CuPy that shares its memory."""
    if values.device.type == "cpu":
        return values.detach().numpy()
    import cupy

    return cupy.from_dlpack(values.detach())
