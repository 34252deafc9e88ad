"""The kernels of NumPy's path where XLA runs on the CPU, and JAX's operations elsewhere."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from ._devices import everywhere


def _registered() -> bool:
    """Tells XLA of the functions that it may call; False where they were not built."""
    try:
        module = importlib.import_module("aruba_fast._jax")
    except ModuleNotFoundError:
        return False
    for name, function in module.targets().items():
        jax.ffi.register_ffi_target(name, function, platform="cpu")
    return True


IS_BUILT = _registered()


def by_platform(pure: Callable[..., Any], native: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that is `native` on the CPU and `pure` on all other platforms.

    Which one it is, is decided where the function is compiled. Its derivatives are those of `pure`.
    """
    if not IS_BUILT:
        return pure

    @jax.custom_jvp
    def function(*args: Any) -> Any:
        return lax.platform_dependent(*everywhere(args), cpu=native, default=pure)

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
        whole: Operands that it wants an entry each of.
        aliases: Operands whose memory it writes a result to, likewise. Who needs them later, or
            does not donate them, has them copied by XLA.
        attributes: What is known when it is compiled.
    """
    own = aliases or {}
    each = {*whole, *own}

    @jax.custom_batching.custom_vmap
    def run(*operands: Any) -> Any:
        function = jax.ffi.ffi_call(target, list(results), input_output_aliases=own)
        return everywhere(function(*operands, **attributes), like=operands)

    @run.def_vmap
    def _(size: int, is_batched: Sequence[bool], *operands: Any) -> Any:
        stacked = []
        for number, (operand, varies) in enumerate(zip(operands, is_batched, strict=True)):
            n = size if number in each else 1
            stacked.append(operand if varies else jnp.broadcast_to(operand, (n, *operand.shape)))
        more = [jax.ShapeDtypeStruct((size, *one.shape), one.dtype) for one in results]
        found = call(target, more, stacked, whole=whole, aliases=aliases, **attributes)
        return found, [True] * len(more)

    found: list[Any] = run(*operands)
    return found
