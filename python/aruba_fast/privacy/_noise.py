"""Gaussian noise: from the system's secure generator, or from a seed in tests."""

import secrets

import numpy as np

from .._check import Float64Array


def normal(shape: tuple[int, ...], rng: "np.random.Generator | None") -> Float64Array:
    """Independent standard normal numbers; without a generator, ones that nobody can guess."""
    if rng is not None:
        return rng.standard_normal(shape)
    n = int(np.prod(shape))
    half = (n + 1) // 2
    words = np.frombuffer(secrets.token_bytes(16 * half), np.uint64)
    # In (0, 1], in steps of 2^-53 (Box and Muller).
    uniform = ((words >> np.uint64(11)) + np.uint64(1)) * 2.0**-53
    radius, angle = np.sqrt(-2.0 * np.log(uniform[:half])), 2.0 * np.pi * uniform[half:]
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    numbers: Float64Array = both[:n].reshape(shape)
    return numbers
