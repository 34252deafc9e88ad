"""JAX's calls of the device kernels, on a CPU: XLA calls what it would call on CUDA.

The functions are those of the extension for CUDA, by the kernels that the emulated machine runs;
only where they find their stream differs.
"""

from __future__ import annotations

import pytest
from device import Machine, emulated_module
from jax_models import jax

from aruba_fast.jax import _native


def emulated():
    """The emulated `_cuda` with XLA's functions; skips where there is none."""
    import importlib.util
    import os

    path = emulated_module()
    reason = "no emulated _cuda: build with -DARUBA_CUDA_EMULATED=ON"
    if path is not None:
        spec = importlib.util.spec_from_file_location("emulated._cuda", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, "jax_targets"):
            return module, Machine(path)
        reason = "the emulated _cuda was built without jaxlib"
    if os.environ.get("CI"):
        pytest.fail(reason)
    return pytest.skip(reason)


registered = []


@pytest.fixture(scope="module")
def machine():
    """While it lives, what is compiled for the CPU runs the device kernels."""
    module, machine = emulated()
    if not registered:
        for name, function in module.jax_targets().items():
            jax.ffi.register_ffi_target(name, function, platform="cpu")
            registered.append(name)
    before = _native.PLATFORMS
    _native.PLATFORMS = {"cpu": True}
    jax.clear_caches()
    yield machine
    _native.PLATFORMS = before
    jax.clear_caches()
