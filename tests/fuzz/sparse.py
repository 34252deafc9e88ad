"""The entries that take CSR rows: matrices with any of their arrays spoiled, and training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from cases import labels_of

import aruba_fast as af

from .calls import Call
from .entries import BFLOAT16, LOSSES, n_parameters, weights_of


def _parts(draw):
    """Values, indices, indptr and shape of a valid matrix, whose columns come in any order.

    At times in less than float32, each column once in a row then; and what bytes are multiplied by.
    """
    sizes = draw.rng.integers(0, 4, size=draw.integer(1, 8))
    n_features = draw.size()
    kind = draw.choice((np.int32, np.int64))
    is_narrow = not draw.device and draw.chance(0.3)
    if is_narrow:
        sizes = np.minimum(sizes, n_features)
        rows = [draw.rng.choice(n_features, size, replace=False) for size in sizes]
        indices = np.concatenate(rows).astype(kind)
    else:
        indices = draw.rng.integers(n_features, size=sizes.sum()).astype(kind)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(kind)
    shape = (len(sizes), n_features)
    if not is_narrow:
        return draw.normals(int(sizes.sum())), indices, indptr, shape, None
    dtype = draw.choice((np.float16, np.uint8, BFLOAT16))
    values = draw.rng.integers(0, 256 if dtype == np.uint8 else 4, int(sizes.sum()))
    scale = draw.positive() / 255 if dtype == np.uint8 else None
    return draw.array(values, dtype), indices, indptr, shape, scale


def _matrix(data, indices, indptr, shape):
    return SimpleNamespace(data=data, indices=indices, indptr=indptr, shape=shape, format="csr")


def _run_of(data, indices, indptr, shape, y, offsets, scale):
    """Whatever is accepted has to be run without harm."""
    tasks = af.Tasks(_matrix(data, indices, indptr, shape), y, offsets, scale=scale)
    run = af.run_tasks(tasks, np.zeros(tasks.n_features, tasks.dtype), af.OGD(0.1), loss="squared")
    return run.theta_hat.shape


def sparse_rows(draw):
    data, indices, indptr, shape, scale = _parts(draw)
    if draw.wild:
        spoiled = draw.choice((indices, indptr))
        if len(spoiled):
            spoiled[draw.rng.integers(len(spoiled))] = draw.choice((-1, 0, 1, 9, 2**31 - 1))
    return Call(
        _run_of, [data, indices, indptr, shape, draw.normals(shape[0]), [0, shape[0]], scale]
    )


def sparse_training(draw):
    loss = draw.choice(LOSSES)
    data, indices, indptr, shape, scale = _parts(draw)
    values = draw.rng.standard_normal(len(data)) if data.itemsize > 2 else np.ones_like(data)
    tasks = af.Tasks(
        _matrix(values, indices, indptr, shape),
        labels_of(loss, draw.rng.standard_normal(shape[0]), 2),
        [0, shape[0]],
        row_weights=weights_of(draw, shape[0]),
        scale=None if scale is None else 0.5,
    )
    learner = af.MetaLearner(np.zeros(n_parameters(loss, shape[1]), tasks.dtype))
    options = {"loss": loss, "round_size": draw.integer(1, 3), "n_passes": draw.integer(1, 3)}
    return Call(
        af.meta_train,
        [tasks, learner],
        options,
        states=(learner,),
        fixed=("n_passes",),
        gradual=True,
    )


ENTRIES = (sparse_rows, sparse_training)
