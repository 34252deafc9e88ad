"""The one table of cases: kernels, rules, losses, types, sizes. A new rule adds a row here."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import aruba_fast as af

if TYPE_CHECKING:
    from collections.abc import Callable
import numpy as np
import pytest
import reference

DTYPES = (np.float32, np.float64)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
# Promised accuracy of whole task runs of 1000 rounds, against the float64 oracle.
RUN_TOLERANCE = {np.float32: 1e-4, np.float64: 1e-12}
SIZES = (0, 1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 127, 128, 129, 4095, 4096, 4097, 100_003)
DIMENSIONS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 513)
# Ragged on purpose: one row, sizes on both sides of vector widths, no order, a long one last. So
# many that the lanes of every instruction set are all busy, even if two threads share the tasks.
TASK_SIZES = (1, 3, 2, 17, 8, 1, 7, 5, 16, 1, 9) * 4 + (33, 40)
N_CLASSES = 3


def single(values):
    """Rounded to float32, held in float64: the same number for the oracle and for both types."""
    return np.asarray(values, np.float64).astype(np.float32).astype(np.float64)


def smoothed(phi, **hyper):
    """A learner with the smoothing of the paper: a first rate and a zeta, 1 where none is given."""
    return af.MetaLearner(phi, **({"learning_rate": 1.0, "zeta": 1.0} | hyper))


def fake_run(rng, n_tasks, d, dtype=np.float64, reach=1.0):
    """A round whose tasks have moved by about `reach`."""
    theta_hat = single(reach * rng.standard_normal((n_tasks, d)))
    return af.TaskRun(theta_hat.astype(dtype), single(0.1 + rng.random((n_tasks, d))).astype(dtype))


# ---- element-wise kernels ----------------------------------------------------------------------


@dataclass(frozen=True)
class Kernel:
    """Arrays and numbers of a step function; `expected` takes both by name, from the oracle."""

    name: str
    arguments: tuple[str, ...]
    written: tuple[str, ...]
    shared: str | None  # of the arguments: may be one row for all tasks
    numbers: dict[str, float]
    expected: Callable
    jax: str | None = None  # the rule of aruba_fast.jax that takes the same steps

    @property
    def function(self) -> str:
        return self.name.removesuffix("_grad_sq")

    @property
    def either(self) -> list[str]:
        """Arguments that may be a number or an array."""
        parameters = inspect.signature(getattr(af, self.function)).parameters
        return [name for name, p in parameters.items() if float in get_args(p.annotation)]

    def call(self, arrays, **more):
        return getattr(af, self.function)(**(arrays | self.numbers | more))


def _expect_step(a):
    rate = reference.OGD(a["learning_rate"]).rate(0.0 * a["grad"], a["grad"] ** 2)
    out = {"theta": a["theta"] - rate * a["grad"]}
    return out | ({"grad_sq": a["grad_sq"] + a["grad"] ** 2} if "grad_sq" in a else {})


def _expect_aruba(a):
    rate = reference.ArubaPlusPlus(a["b"], a["g"], 0.75).rate(0.0, None)
    return {"theta": a["theta"] - rate * a["grad"], "g": a["g"] + 0.75 * a["grad"] ** 2}


def _expect_adagrad(a):
    total = a["grad_sq"] + a["grad"] ** 2
    rate = reference.AdaGrad(0.5, 0.125).rate(a["grad_sq"], total)
    return {"theta": a["theta"] - rate * a["grad"], "grad_sq": total}


def _expect_adam(a):
    rule = reference.Adam(0.5, 0.75, 0.125, mean=a["mean_sq"], t=2)
    rate = rule.rate(0.0, a["grad"] ** 2)
    return {"theta": a["theta"] - rate * a["grad"], "mean_sq": rule.mean}


KERNELS = (
    Kernel(
        "step",
        ("theta", "grad", "learning_rate"),
        ("theta",),
        "learning_rate",
        {},
        _expect_step,
    ),
    Kernel(
        "step_grad_sq",
        ("theta", "grad", "learning_rate", "grad_sq"),
        ("theta", "grad_sq"),
        "learning_rate",
        {},
        _expect_step,
        "ogd",
    ),
    Kernel(
        "aruba_step",
        ("theta", "grad", "b", "g"),
        ("theta", "g"),
        "b",
        {"coef": 0.75},
        _expect_aruba,
        "aruba_plus_plus",
    ),
    Kernel(
        "adagrad_step",
        ("theta", "grad", "grad_sq"),
        ("theta", "grad_sq"),
        None,
        {"learning_rate": 0.5, "delta": 0.125},
        _expect_adagrad,
    ),
    Kernel(
        "adam_step",
        ("theta", "grad", "mean_sq"),
        ("theta", "mean_sq"),
        None,
        {"t": 3, "learning_rate": 0.5, "beta2": 0.75, "eps": 0.125},
        _expect_adam,
        "adam",
    ),
)
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)


def kernel_arguments(kernel, rng, shape, shared_rates=False):
    """Float64 values that float32 (and for `grad` bfloat16) can hold too; accumulators positive."""
    signed = {"theta": 6, "grad": 6}
    out = {}
    for name in kernel.arguments:
        its_shape = shape[-1:] if shared_rates and name == kernel.shared else shape
        values = rng.standard_normal(its_shape)
        out[name] = single(values if name in signed else 0.1 + values**2)
    return out


# ---- rules of the task engine: (oracle, subject of a type), for so many parameters ---------------


def _ogd(_rng, _size):
    rate = float(single(0.3))
    return reference.OGD(rate), lambda _: af.OGD(rate)


def _ogd_vector(rng, size):
    rate = single(0.1 + 0.4 * rng.random(size))
    return reference.OGD(rate), lambda dtype: af.OGD(rate.astype(dtype))


def _adagrad(_rng, _size):
    return reference.AdaGrad(0.25, 0.5), lambda _: af.AdaGrad(0.25, 0.5)


def _aruba(rng, size):
    b, g = single(0.1 + rng.random(size)), single(2.0 + 8.0 * rng.random(size))
    return reference.ArubaPlusPlus(b, g, 0.5), lambda _: af.ArubaPlusPlus(b, g, 0.5)


def _adam(_rng, _size):
    return reference.Adam(0.125, 0.75, 0.25), lambda _: af.Adam(0.125, 0.75, 0.25)


RULES = {
    "ogd": _ogd,
    "ogd_vector": _ogd_vector,
    "adagrad": _adagrad,
    "adam": _adam,
    "aruba++": _aruba,
}
LOSSES = tuple(reference.LOSSES)
OPTIONS = {
    "plain": {},
    "batch": {"batch_size": 4},
    "epochs": {"n_epochs": 3},
    "radius": {"radius": 0.75},
    "all": {"batch_size": 5, "n_epochs": 2, "radius": 0.75},
}


def start(rng, size, radius=0.5):
    """A random initialization inside the ball: a start outside a task's ball is refused."""
    phi = rng.standard_normal(size)
    return single(phi * min(1.0, radius / np.linalg.norm(phi)))


# ---- data ----------------------------------------------------------------------------------------


def n_parameters(loss, d):
    return d * N_CLASSES if loss == "softmax" else d


def labels(loss, rng, z):
    """Labels in the domain of `loss` for the true scores `z` ([n_rows] or [n_rows, n_classes])."""
    if loss == "softmax":
        return np.argmax(z + rng.gumbel(size=z.shape), axis=1).astype(np.float64)
    if loss == "logistic":
        return (z + rng.logistic(size=z.shape) > 0).astype(np.float64)
    if loss == "hinge":
        return np.where(z + rng.logistic(size=z.shape) > 0, 1.0, -1.0)
    if loss == "poisson":
        # None is one, where phi is mostly as good as the best, and the loss next to nothing.
        counts = rng.poisson(3.0 * np.exp(z))
        return np.where(counts == 1, 0.0, counts)
    return single(z + 0.5 * rng.standard_normal(z.shape))


def labels_of(loss, y, n_classes=N_CLASSES):
    """What real numbers become in the domain of `loss`."""
    if loss == "softmax":
        return np.digitize(y, [-0.4, 0.4]) * 1.0 % n_classes
    if loss == "logistic":
        return (y > 0) * 1.0
    if loss == "hinge":
        return np.where(y > 0, 1.0, -1.0)
    if loss == "poisson":
        return np.floor(np.abs(y))
    return y


def task_data(loss, rng, n_rows, d):
    """One task: features of so small a mean square norm that rates below one are stable."""
    norm = 0.25 if loss == "poisson" else 1.0
    x = single(norm * rng.standard_normal((n_rows, d)) / np.sqrt(d))
    truth = rng.standard_normal(n_parameters(loss, d))
    return x, labels(loss, rng, reference.scores(truth, x, loss))


def pack(pieces, dtype):
    """`af.Tasks` of a list of (x, y)."""
    offsets = np.cumsum([0] + [len(y) for _, y in pieces])
    x = np.concatenate([x for x, _ in pieces]).astype(dtype)
    return af.Tasks(x, np.concatenate([y for _, y in pieces]).astype(dtype), offsets)


# Learners whose prior is one average task, of 19 coordinates.
HYPERPARAMETERS = (
    {},
    {"learning_rate": 0.25},
    {"bound": "tight"},
    {"train": "scalar"},
    {"train": "scalar", "bound": "tight"},
    {"isotropic": True},
    {"tensors": (4, 1, 14)},
    {"tensors": (19,), "isotropic": True},
    {"tensors": (4, 1, 14), "isotropic": True, "bound": "tight"},
    {"tensors": (4, 1, 14), "train": "scalar", "bound": "tight"},
    {"decay": 0.25},
    {"decay": 1e-20},
    {"max_learning_rate": 0.4},
    {"isotropic": True, "decay": 0.5, "max_learning_rate": 0.5, "bound": "tight"},
)
