"""Benchmarks use every core this process may, as their rivals do by default."""

from __future__ import annotations

import pytest

import aruba_fast as af


@pytest.fixture(autouse=True)
def default_threads():
    af.set_num_threads(None)
