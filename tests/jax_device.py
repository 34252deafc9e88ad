"""JAX's calls of the device kernels, on a CPU: XLA calls what it would call on CUDA.

The functions are those of the extension for CUDA, by the kernels that the emulated machine runs;
only where they find their stream differs.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from contextlib import contextmanager

import pytest
from device import Machine, emulated_module
from jax_models import jax

from aruba_fast.jax import _native

registered = []


def module_at(path):
    """An extension that is no part of the package."""
    name = f"emulated.{path.name.split('.')[0]}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def emulated():
    """XLA's functions, which it knows from here on, and the machine; skips where there are none."""
    path = emulated_module()
    functions = path and path.with_name(path.name.replace("_cuda", "_jax_emulated"))
    if not functions or not functions.exists():
        reason = "no emulated _jax: build with -DARUBA_CUDA_EMULATED=ON, where there is a jaxlib"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    module = module_at(functions)
    if not registered:
        library = ctypes.CDLL(str(path))
        addresses = [
            ctypes.cast(getattr(library, f"machine_{name}"), ctypes.c_void_p).value
            for name in ("synchronize", "begin_capture", "end_capture", "replay", "destroy_graph")
        ]
        targets = module.targets(module_at(path).entries, addresses)
        for name, function in targets.items():
            jax.ffi.register_ffi_target(name, function, platform="cpu")
        registered.extend(targets)
    return module, Machine(path)


def table_of_kernels():
    return module_at(emulated_module()).entries


@contextmanager
def captured():
    """Every call of XLA's is captured in a graph, which is replayed."""
    module, _ = emulated()
    module.capture(True)
    try:
        yield
    finally:
        module.capture(False)


@contextmanager
def kernels_of(platforms):
    """What is compiled within runs the kernels of these."""
    before = _native.PLATFORMS
    _native.PLATFORMS = platforms
    jax.clear_caches()
    try:
        yield
    finally:
        _native.PLATFORMS = before
        jax.clear_caches()


@pytest.fixture(scope="module")
def machine():
    """While it lives, what is compiled for the CPU runs the device kernels."""
    module, machine = emulated()
    with kernels_of({"cpu": module}):
        yield machine


@pytest.fixture(autouse=True)
def nothing_waits(machine):
    """Every test runs kernels, waits for none of them and allocates nothing."""
    machine.reset()
    yield
    counts = machine.counts()
    assert (counts["synchronizations"], counts["allocations"]) == (0, 0)
