"""Tables in less than float32 beside the same in float32, as NumPy widens them.

Run as a script it holds the two against each other, and prints a hash of the results.
"""

from __future__ import annotations

import hashlib
import json

import ml_dtypes
import numpy as np
from cases import TASK_SIZES, labels_of, n_parameters

import aruba_fast as af

KINDS = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
    "uint8": np.dtype(np.uint8),
}
# Rows a lane, unrolled, of whole registers, with tails, and of more than a segment.
DIMENSIONS = (1, 5, 8, 16, 19, 64, 129, 513)


def table(rng, kind, shape):
    """Features of a kind, and how they are told to Tasks; a row's mean square is about one."""
    if kind == "uint8":
        scale = 1.5 / 255 / np.sqrt(shape[-1])
        return rng.integers(0, 256, shape, dtype=np.uint8), {"scale": scale}
    return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(KINDS[kind]), {}


def wide(x, scale=None):
    """What NumPy makes of it."""
    with np.errstate(all="ignore"):
        return x.astype(np.float32) * np.float32(1 if scale is None else scale)


def pair(rng, kind, loss, d, sizes=TASK_SIZES, **how):
    """The same tasks, of narrow features and of those that NumPy has widened."""
    n_rows = sum(sizes)
    x, scale = table(rng, kind, (n_rows, d))
    y = labels_of(loss, rng.standard_normal(n_rows))
    offsets = np.cumsum([0, *sizes])
    return af.Tasks(x, y, offsets, **scale, **how), af.Tasks(wide(x, **scale), y, offsets, **how)


def same(first, second):
    """Whether two results are of one type and of equal bits."""
    if first is None or second is None:
        return first is second
    return first.dtype == second.dtype and first.tobytes() == second.tobytes()


def same_runs(first, second):
    parts = ("theta_hat", "grad_sq", "theta_bar", "loss", "weight")
    return all(same(getattr(first, part), getattr(second, part)) for part in parts)


def require_every_number(kind):
    """A step from zero at the slope 1 is minus the features: of every number that a kind has.

    Subnormal, infinite and nan too; a nan is one, whatever its sign and payload.
    """
    numbers = np.arange(1 << 8 * KINDS[kind].itemsize, dtype=np.uint64)
    numbers = numbers.astype(f"u{KINDS[kind].itemsize}").view(KINDS[kind])
    scale = {"scale": 1 / 255} if kind == "uint8" else {}
    for d in (1, 3, 37):
        x = np.resize(numbers, (-(-len(numbers) // d), d))
        tasks = af.Tasks(x[:, None], np.full((len(x), 1), -1.0), **scale)
        found = -af.run_tasks(tasks, np.zeros(d, np.float32), af.OGD(1.0), loss="squared").theta_hat
        expected = wide(x, **scale)
        finite = np.isfinite(expected).all(axis=1)
        assert len(np.unique(expected[finite])) > 255 // d
        assert same(found[finite] + 0.0, expected[finite] + 0.0)
        # Zero times infinity: a row that has one has no score.
        assert np.array_equal(np.isfinite(found).all(axis=1), finite)


def main():
    rng, found = np.random.default_rng(5), hashlib.sha256()

    def compare(pair_of_tasks, phi, rule, **how):
        runs = [af.run_tasks(tasks, phi, rule, **how) for tasks in pair_of_tasks]
        assert same_runs(*runs), (*pair_of_tasks, rule, how)
        found.update(runs[0].theta_hat.tobytes())

    for kind in KINDS:
        for d in DIMENSIONS:
            for loss in ("logistic", "softmax"):
                phi = np.zeros(n_parameters(loss, d), np.float32)
                some = pair(rng, kind, loss, d)
                compare(some, phi, af.OGD(0.3), loss=loss)
                compare(some, phi, af.OGD(0.3), loss=loss, batch_size=3, average=True)
            some, phi = pair(rng, kind, "squared", d), np.full(d, 1 / d, np.float32)
            compare(some, phi, af.EG(0.5), loss="squared")
            compare(some, phi, af.Proximal(1.0), loss="squared")
        with np.errstate(all="ignore"):
            require_every_number(kind)
    print(json.dumps({"isa": af.info()["isa"], "hash": found.hexdigest()}))


if __name__ == "__main__":
    main()
