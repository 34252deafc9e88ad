"""Tables in less than float32: how they come in, what tasks do with them, and what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from cases import TASK_SIZES
from narrow import KINDS, pair, same, same_runs, table, wide
from torch_models import torch

import aruba_fast as af

kinds = pytest.mark.parametrize("kind", KINDS)


def run(tasks, loss="squared", **options):
    phi = np.zeros(tasks.n_features, np.float32)
    return af.run_tasks(tasks, phi, af.OGD(0.1), loss=loss, **options)


@kinds
def test_the_table_is_neither_copied_nor_widened(kind, rng):
    x, scale = table(rng, kind, (4000, 64))
    tracemalloc.start()
    tasks = af.Tasks(x, np.zeros(4000), np.arange(0, 4001, 40), **scale)
    result = run(tasks)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(result.loss).all()
    assert np.shares_memory(tasks.x, x)
    assert tasks.x.dtype == x.dtype
    assert not tasks.x.flags.writeable
    # The labels, twice, and the results: far from the table in float32.
    assert most < x.nbytes < 4000 * 64 * 4


@kinds
def test_what_is_computed_is_float32(kind, rng):
    tasks = pair(rng, kind, "squared", 5)[0]
    assert tasks.dtype == tasks.y.dtype == run(tasks).theta_hat.dtype == np.float32
    with pytest.raises(TypeError, match=r"`phi` must have the type of `tasks`: got float64"):
        af.run_tasks(tasks, np.zeros(5), af.OGD(0.1), loss="squared")


def test_repr_tells_what_the_table_holds(rng):
    shown = [repr(pair(rng, kind, "squared", 5, (2, 1))[0]) for kind in KINDS]
    of = "Tasks(n_tasks=2, n_rows=3, n_features=5, dtype=float32, features="
    assert shown == [f"{of}bfloat16)", f"{of}float16)", f"{of}uint8 * 0.00263067)"]
    assert repr(pair(rng, "uint8", "squared", 5)[1]).endswith("dtype=float32)")


@kinds
@pytest.mark.parametrize(
    "choice",
    [
        lambda t: t[[3, 0, 3]],
        lambda t: t[2:9],
        lambda t: t.split(0.5, seed=1)[1],
        lambda t: t[t.sizes > 2].shots(2)[0],
        lambda t: t[t.sizes > 2].shots(2)[1],
        lambda t: list(t.rounds(7, seed=2))[1],
        lambda t: t.to("cpu"),
        lambda t: pickle.loads(pickle.dumps(t[[5, 1]])),
    ],
    ids=["list", "slice", "split", "shots", "others", "round", "copy", "pickle"],
)
def test_every_choice_of_tasks_holds_the_same_rows(choice, kind, rng):
    weights = rng.integers(1, 4, sum(TASK_SIZES))
    narrow, whole = map(choice, pair(rng, kind, "squared", 9, row_weights=weights))
    assert narrow.x.dtype.name == kind
    assert same(wide(narrow.x, narrow.scale), whole.x)
    assert same(narrow.y, whole.y)
    assert same_runs(run(narrow), run(whole))


@kinds
def test_groups_come_in_any_order(kind, rng):
    x, scale = table(rng, kind, (50, 6))
    group = rng.integers(0, 5, 50)
    narrow = af.Tasks.from_groups(x, np.ones(50), group, **scale)
    whole = af.Tasks.from_groups(wide(x, **scale), np.ones(50), group)
    assert narrow.x.dtype == x.dtype
    assert same_runs(run(narrow), run(whole))


@kinds
def test_dense_tasks_of_any_strides(kind, rng):
    x, scale = table(rng, kind, (7, 12, 10))
    narrow = af.Tasks(x[:, ::2, 1:8], np.ones((7, 6)), **scale)
    whole = af.Tasks(wide(x[:, ::2, 1:8], **scale), np.ones((7, 6)))
    assert same_runs(run(narrow), run(whole))


@kinds
def test_chunks_are_learned_from_one_after_the_other(kind, rng):
    narrow, whole = pair(rng, kind, "absolute", 6)
    learners = []
    for chunks in ([narrow[:14], whole[14:28], narrow[28:]], [whole]):
        learner = af.MetaLearner(np.zeros(6, np.float32))
        af.meta_train(chunks, learner, loss="absolute", round_size=7)
        learners.append(learner)
    assert same(learners[0].phi, learners[1].phi)
    assert same(learners[0].learning_rate, learners[1].learning_rate)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_tensors_of_torch_share_their_memory(kind, rng):
    tensor = torch.from_numpy(rng.standard_normal((12, 3, 7))).to(getattr(torch, kind))
    tasks = af.Tasks(tensor, np.ones((12, 3)))
    assert tasks.x.dtype.name == kind
    expected = run(af.Tasks(tensor.float().numpy(), np.ones((12, 3))))
    assert same_runs(run(tasks), expected)
    tensor.zero_()
    assert not tasks.x.any()


def test_arrays_of_jax_are_read_too(rng):
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray(rng.standard_normal((12, 3, 7)), jax.numpy.bfloat16)
    tasks = af.Tasks(x, np.ones((12, 3)))
    assert tasks.x.dtype == KINDS["bfloat16"]
    assert same_runs(run(tasks), run(af.Tasks(np.asarray(x, np.float32), np.ones((12, 3)))))


def test_a_tensor_of_bfloat16_needs_ml_dtypes():
    code = (
        "import sys, numpy, torch, aruba_fast\n"
        "sys.modules['ml_dtypes'] = None\n"
        "x = torch.ones(2, 1, 1, dtype=torch.bfloat16)\n"
        "aruba_fast.Tasks(x, numpy.ones((2, 1)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: Tasks: `x` must not be of bfloat16 without ml_dtypes" in done.stderr
    assert "pip install 'aruba_fast[bfloat16]'" in done.stderr


def ones(dtype, shape=(4, 2, 3)):
    return np.ones(shape, dtype)


def tasks_of(x, **how):
    return af.Tasks(x, np.ones((4, 2)), **how)


REFUSED = {
    "bytes alone": (
        lambda: tasks_of(ones(np.uint8)),
        TypeError,
        "Tasks: `x` must be float32 or float64, or uint8 with a `scale`: got uint8, expected "
        "x.astype(np.float32), or `scale`, 1 / 255 for pixels",
    ),
    "scale of floats": (
        lambda: tasks_of(ones(np.float32), scale=0.5),
        ValueError,
        "Tasks: `scale` must be None but for uint8 `x`: got 0.5 for float32, expected None",
    ),
    "scale of halves": (
        lambda: tasks_of(ones(np.float16), scale=2),
        ValueError,
        "`scale` must be None but for uint8 `x`: got 2 for float16",
    ),
    "no scale at all": (
        lambda: tasks_of(ones(np.uint8), scale=0.0),
        ValueError,
        "Tasks: `scale` must be",
    ),
    "scale as text": (
        lambda: tasks_of(ones(np.uint8), scale="1/255"),
        TypeError,
        "Tasks: `scale` must be",
    ),
    "scale beyond float32": (
        lambda: tasks_of(ones(np.uint8), scale=1e-40),
        ValueError,
        "Tasks: `scale` must be within float32: got 1e-40, expected 1.17549e-38 to 3.40282e+38",
    ),
    "other integers": (
        lambda: tasks_of(ones(np.int8), scale=0.5),
        TypeError,
        "Tasks: `x` must be float32 or float64: got int8, expected x.astype(np.float32)",
    ),
    "another byte order": (
        lambda: tasks_of(ones(np.dtype(">f2") if sys.byteorder == "little" else "<f2")),
        TypeError,
        "must be float32 or float64 in native byte order",
    ),
    "groups of bytes": (
        lambda: af.Tasks.from_groups(ones(np.uint8, (4, 3)), np.ones(4), np.ones(4)),
        TypeError,
        "Tasks.from_groups: `x` must be float32 or float64, or uint8 with a `scale`",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_said_in_one_sentence(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error) as refused:
        call()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
