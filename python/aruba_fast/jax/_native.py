"""The kernels of NumPy's path on the CPU and on CUDA, and JAX's operations elsewhere."""

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from ._devices import everywhere


def _registered() -> dict[str, bool]:
    """Tells XLA of the functions that it may call, of those that were built.

    Returns the platforms that have them, and of each whether its arrays are in a device's memory.
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
        return {"cpu": False}
    for name, function in module.cuda_targets(kernels.entries).items():
        jax.ffi.register_ffi_target(name, function, platform="CUDA")
    return {"cpu": False, "cuda": True}


PLATFORMS = _registered()
IS_BUILT = bool(PLATFORMS)


def by_platform(
    pure: Callable[..., Any], native: Callable[..., Any], *, has_device: bool = False
) -> Callable[..., Any]:
    """Returns a function that is `native` where there are kernels and `pure` on other platforms.

    Which one it is, is decided where the function is compiled; `native` is told whether that is for
    arrays in a device's memory. The derivatives are those of `pure`.
    """
    if not IS_BUILT:
        return pure

    @jax.custom_jvp
    def function(*args: Any) -> Any:
        natives = {
            platform: partial(native, on_device=on_device)
            for platform, on_device in PLATFORMS.items()
            if has_device or not on_device
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
    on_device: bool,
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
        on_device: Whether the function is that for arrays in a device's memory.
        whole: Operands that it wants an entry each of.
        aliases: Operands whose memory it writes a result to, likewise. Who needs them later, or
            does not donate them, has them copied by XLA.
        attributes: What is known when it is compiled.
    """
    own = aliases or {}
    each = {*whole, *own}

    @jax.custom_batching.custom_vmap
    def run(*operands: Any) -> Any:
        name = f"aruba_fast_{'cuda_' if on_device else ''}{target}"
        function = jax.ffi.ffi_call(name, list(results), input_output_aliases=own)
        return everywhere(function(*operands, **attributes), like=operands)

    @run.def_vmap
    def _(size: int, is_batched: Sequence[bool], *operands: Any) -> Any:
        stacked = []
        for number, (operand, varies) in enumerate(zip(operands, is_batched, strict=True)):
            n = size if number in each else 1
            stacked.append(operand if varies else jnp.broadcast_to(operand, (n, *operand.shape)))
        more = [jax.ShapeDtypeStruct((size, *one.shape), one.dtype) for one in results]
        found = call(
            target, more, stacked, on_device=on_device, whole=whole, aliases=aliases, **attributes
        )
        return found, [True] * len(more)

    found: list[Any] = run(*operands)
    return found
