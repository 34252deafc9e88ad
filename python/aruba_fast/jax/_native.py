"""The kernels of NumPy's path on the CPU and on CUDA, and JAX's operations elsewhere."""

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from ._devices import everywhere


def _registered() -> dict[str, Any]:
    """Tells XLA of the functions that it may call, of those that were built.

    Returns the platforms that have them: None for the CPU, for a device the module that knows how
    long the workspaces are.
    """
    try:
        module = importlib.import_module("aruba_fast._jax")
    except ModuleNotFoundError:
        return {}
    for name, function in module.targets().items():
        jax.ffi.register_ffi_target(name, function, platform="cpu")
    try:
        kernels = importlib.import_module("aruba_fast._cuda")
    except ModuleNotFoundError:
        return {"cpu": None}
    for name, function in module.cuda_targets(kernels.entries).items():
        jax.ffi.register_ffi_target(name, function, platform="CUDA")
    return {"cpu": None, "cuda": module}


PLATFORMS = _registered()
IS_BUILT = bool(PLATFORMS)


def by_platform(pure: Callable[..., Any], native: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that is `native` where there are kernels and `pure` on other platforms.

    Which one it is, is decided where the function is compiled; `native` is told the `device`, None
    for the CPU. The derivatives are those of `pure`.
    """
    if not IS_BUILT:
        return pure

    @jax.custom_jvp
    def function(*args: Any) -> Any:
        natives = {
            platform: partial(native, device=device) for platform, device in PLATFORMS.items()
        }
        return lax.platform_dependent(*everywhere(args), default=pure, **natives)

    @function.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return function(*primals), jax.jvp(pure, primals, tangents)[1]

    result: Callable[..., Any] = function
    return result


def call(
    target: str,
    results: Sequence[jax.ShapeDtypeStruct],
    operands: Sequence[Any],
    *,
    device: Any,
    scratch: int = 0,
    whole: Sequence[int] = (),
    aliases: dict[int, int] | None = None,
    **attributes: Any,
) -> list[Any]:
    """Calls a native function on vectors.

    Under `vmap` it is called once, for all entries of the batch: whatever varies among them has one
    more axis, the first, and what they share has length 1 there, and is not copied.

    Args:
        target: Name of the function.
        results: Shapes and types of what it writes.
        operands: Vectors.
        device: Whose function it is, None for the CPU's.
        scratch: Bytes of memory that it may scribble on, the same ones for all of a batch.
        whole: Operands that it wants an entry each of.
        aliases: Operands whose memory it writes a result to, likewise. Who needs them later, or
            does not donate them, has them copied by XLA.
        attributes: What is known when it is compiled.
    """
    own = aliases or {}
    each = {*whole, *own}

    @jax.custom_batching.custom_vmap
    def run(*operands: Any) -> Any:
        name = f"aruba_fast_{'cuda_' if device else ''}{target}"
        made = [*results, *[jax.ShapeDtypeStruct((scratch,), np.uint8)] * (scratch > 0)]
        function = jax.ffi.ffi_call(name, made, input_output_aliases=own)
        found = function(*operands, **attributes)
        return everywhere(found[: len(results)], like=operands)

    @run.def_vmap
    def _(size: int, is_batched: Sequence[bool], *operands: Any) -> Any:
        stacked = []
        for number, (operand, varies) in enumerate(zip(operands, is_batched, strict=True)):
            n = size if number in each else 1
            stacked.append(operand if varies else jnp.broadcast_to(operand, (n, *operand.shape)))
        more = [jax.ShapeDtypeStruct((size, *one.shape), one.dtype) for one in results]
        found = call(
            target, more, stacked, device=device, scratch=scratch, whole=whole, aliases=aliases,
            **attributes,
        )  # fmt: skip
        return found, [True] * len(more)

    found: list[Any] = run(*operands)
    return found
