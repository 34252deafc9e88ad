"""What the parts of the workload stand on: random tasks of every loss, and a hash of arrays."""

from __future__ import annotations

import hashlib

import numpy as np

import aruba_fast as af

LOSSES = ("squared", "absolute", "huber", "logistic", "hinge", "softmax")
DTYPES = (np.float32, np.float64)
N_CLASSES = 3


def fingerprint(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array.get() if hasattr(array, "get") else array)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def tasks_for(loss, rng, d, dtype, n_tasks=40):
    sizes = rng.integers(1, 30, n_tasks)
    x = rng.standard_normal((sizes.sum(), d)) / np.sqrt(d)
    z = (x * rng.standard_normal(d)).sum(axis=1) + 0.5 * rng.standard_normal(len(x))  # no BLAS
    y = {
        "logistic": (z > 0) * 1.0,
        "hinge": np.where(z > 0, 1.0, -1.0),
        "softmax": np.digitize(z, [-0.5, 0.5]) * 1.0,
    }.get(loss, z)
    return af.Tasks(x.astype(dtype), y.astype(dtype), np.concatenate([[0], np.cumsum(sizes)]))
