"""What a report of a bug has to say of the machine: versions, build, threads, environment."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from . import _core

# Those that this library can be used with.
PACKAGES = (
    "numpy", "safetensors", "scipy", "torch", "jax", "ml_dtypes", "optax", "scikit-learn",
    "cupy-cuda12x", "cupy-cuda13x", "pandas", "narwhals", "pyarrow", "polars", "distributed",
    "flwr", "pfl", "dp-accounting", "pillow", "pooch", "typer", "rich", "tqdm", "matplotlib",
)  # fmt: skip
_VARIABLES = ("ARUBA_", "OMP_", "CUDA_")


def _facts() -> dict[str, str]:
    found = dict(_core.info())
    cuda = found.pop("cuda")
    # Asked for where it may be off alone: 3.10 to 3.12 have no such function.
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    kind = f"{platform.python_implementation()} {platform.python_version()}"
    devices = f"CUDA {cuda['versions']}, {cuda['devices']} devices"
    return {
        "aruba_fast": found.pop("version"),
        "python": kind if gil else f"{kind}, free threading",
        "platform": platform.platform(),
        **{
            name: ", ".join(value) if isinstance(value, list) else str(value)
            for name, value in found.items()
        },
        "cuda": cuda["problem"] or devices,
    }


def _installed() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def show_versions() -> None:
    """Prints what a report of a bug needs: versions, how it was built, threads, environment.

    Versions of packages are read from what their installation wrote: none of them is imported. Of
    the environment, those that change what this library does: `ARUBA_*`, `OMP_*`, `CUDA_*`.
    `info` gives a program the part that is about this library.

    Raises:
        OSError: The output cannot be written.

    Example:
        >>> import aruba_fast as af
        >>> af.show_versions()
        aruba_fast ...
        python ...
        numpy ...
    """
    variables = {
        name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)
    }
    for part in (_facts(), _installed(), variables):
        width = max(map(len, part), default=0)
        for name, value in part.items():
            print(f"{name:{width}}  {value}")
        if part:
            print()
