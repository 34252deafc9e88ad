"""The entries that take CSR rows: matrices with any of their arrays spoiled, and training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from cases import labels_of

import aruba_fast as af

from .calls import Call
from .entries import LOSSES, n_parameters, weights_of


def _parts(draw):
    """Values, indices, indptr and shape of a valid matrix, whose columns come in any order."""
    sizes = draw.rng.integers(0, 4, size=draw.integer(1, 8))
    n_features = draw.size()
    kind = draw.choice((np.int32, np.int64))
    indices = draw.rng.integers(n_features, size=sizes.sum()).astype(kind)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(kind)
    return draw.normals(int(sizes.sum())), indices, indptr, (len(sizes), n_features)


def _matrix(data, indices, indptr, shape):
    return SimpleNamespace(data=data, indices=indices, indptr=indptr, shape=shape, format="csr")


def _run_of(data, indices, indptr, shape, y, offsets):
    """Whatever is accepted has to be run without harm."""
    tasks = af.Tasks(_matrix(data, indices, indptr, shape), y, offsets)
    run = af.run_tasks(tasks, np.zeros(tasks.n_features, tasks.dtype), af.OGD(0.1), loss="squared")
    return run.theta_hat.shape


def sparse_rows(draw):
    data, indices, indptr, shape = _parts(draw)
    if draw.wild:
        spoiled = draw.choice((indices, indptr))
        if len(spoiled):
            spoiled[draw.rng.integers(len(spoiled))] = draw.choice((-1, 0, 1, 9, 2**31 - 1))
    return Call(_run_of, [data, indices, indptr, shape, draw.normals(shape[0]), [0, shape[0]]])


def sparse_training(draw):
    loss = draw.choice(LOSSES)
    data, indices, indptr, shape = _parts(draw)
    tasks = af.Tasks(
        _matrix(draw.rng.standard_normal(len(data)), indices, indptr, shape),
        labels_of(loss, draw.rng.standard_normal(shape[0]), 2),
        [0, shape[0]],
        row_weights=weights_of(draw, shape[0]),
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
