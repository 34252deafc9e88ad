"""The entries of the API with valid arguments: steps, tasks, rules, runs."""

from __future__ import annotations

import contextlib
import inspect
import pickle
from dataclasses import MISSING, fields
from typing import get_args

import ml_dtypes
import numpy as np
import reference
from cases import KERNELS, labels_of

import aruba_fast as af
from aruba_fast.rules import Rule

from .calls import Call

LOSSES = tuple(reference.LOSSES)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


# ---- steps ---------------------------------------------------------------------------------------


def _arrays(draw, names):
    """Arrays of one shape by their names, or lists of them; tensors of PyTorch at times."""
    n_lists = draw.choice((0, 0, 0, 1, 2, 5))
    shapes = []
    for _ in range(max(1, n_lists)):
        shapes.append([draw.size() for _ in range(draw.choice((1, 1, 2, 3)))])
        if draw.wild and draw.chance(0.05):
            shapes[-1][0] = 0
    use_torch = draw.torch is not None and draw.device is None and draw.chance(0.15)

    def one(name, shape):
        value = (draw.normals if name in ("theta", "grad") else draw.positives)(shape)
        return draw.torch.from_numpy(value) if use_torch else value

    columns = {name: [one(name, shape) for shape in shapes] for name in names}
    if not use_torch and draw.device is None and draw.dtype == np.float32 and draw.chance(0.2):
        for name in {"learning_rate", "b"} & columns.keys():
            columns[name] = [draw.positives(shape, BFLOAT16) for shape in shapes]
    return columns if n_lists else {name: column[0] for name, column in columns.items()}


def step_entry(kernel):
    """The entry of a row of the table: a number or an array where the function takes either."""
    function = getattr(af, kernel.function)
    parameters = inspect.signature(function).parameters

    def entry(draw):
        given = _arrays(draw, dict.fromkeys((*kernel.arguments, *kernel.either)))
        given |= {name: draw.choice((draw.positive(), given[name])) for name in kernel.either}
        for name, value in kernel.numbers.items():
            if isinstance(value, int):
                value = draw.integer(1, 9)
            elif parameters[name].default is inspect.Parameter.empty:
                value = draw.positive()
            given.setdefault(name, value)
        first = [given.pop("theta"), given.pop("grad")]
        return Call(function, first, given, modified=(0, *kernel.written[1:]))

    entry.__name__ = kernel.function
    return entry


def planned_entry(kernel):
    """The same by a plan, whose gradients are its own or those of its only step."""
    function = getattr(af, kernel.function)

    def entry(draw):
        call = step_entry(kernel)(draw)
        at_step = draw.chance(0.5)

        def planned(theta, grad, **given):
            plan = af.StepPlan(function, theta, None if at_step else grad, **given)
            plan.step(grad if at_step else None)

        call.function = planned
        return call

    entry.__name__ = f"planned_{kernel.function}"
    return entry


# ---- tasks ---------------------------------------------------------------------------------------


def labels(draw, loss, n):
    if draw.wild and draw.chance(0.05):
        return draw.normals(n)
    if loss in ("squared", "absolute", "huber"):
        return draw.normals(n)
    return draw.array(labels_of(loss, draw.rng.standard_normal(n), 2))


def tasks_of(draw, loss="squared", n_features=None):
    """Tasks of different sizes."""
    sizes = [draw.integer(1, 5) for _ in range(draw.choice((1, 2, 3, 5)))]
    n = sum(sizes)
    x, scale = features_of(draw, (n, n_features or draw.size()))
    weights = weights_of(draw, n)
    return af.Tasks(
        x, labels(draw, loss, n), np.cumsum([0, *sizes]), row_weights=weights, scale=scale
    )


def features_of(draw, shape):
    """Features, at times in less than float32, and what bytes are multiplied by."""
    if draw.dtype != np.float32 or draw.chance(0.75):
        return draw.normals(shape), None
    kind = draw.choice((np.float16, np.uint8, BFLOAT16))
    if kind == np.uint8:
        return draw.array(draw.rng.integers(0, 256, shape), kind), draw.positive() / 255
    return draw.normals(shape, kind), None


def weights_of(draw, shape):
    """Mostly none; of any size where the call is wild."""
    if draw.chance(0.75):
        return None
    return 10.0 ** (draw.rng.uniform(-1, 1, shape) * (308 if draw.wild else 1))


def tasks(draw):
    n_tasks, m = draw.integer(1, 5), draw.integer(1, 4)
    if draw.chance(0.5):
        x, scale = features_of(draw, (n_tasks, m, draw.size()))
        kwargs = {"row_weights": weights_of(draw, (n_tasks, m)), "scale": scale}
        return Call(af.Tasks, [x, draw.normals((n_tasks, m))], kwargs)
    n = n_tasks * m
    x, scale = features_of(draw, (n, draw.size()))
    kwargs = {"row_weights": weights_of(draw, n), "scale": scale}
    return Call(af.Tasks, [x, draw.normals(n)], {"offsets": np.arange(0, n + 1, m), **kwargs})


def from_groups(draw):
    n = draw.integer(1, 12)
    group = draw.rng.integers(4, size=n)
    kinds = (int, float, str, "M8[s]", object, np.int8)
    x, scale = features_of(draw, (n, draw.size()))
    return Call(
        af.Tasks.from_groups,
        [x, draw.normals(n), group.astype(draw.choice(kinds))],
        {"row_weights": weights_of(draw, n), "scale": scale},
    )


def from_frame(draw):
    """A frame of pandas, whose columns are those of valid tasks."""
    if draw.torch is None:  # neither are other packages, which are not built for sanitizers
        return from_groups(draw)
    import pandas as pd

    n = draw.integer(1, 12)
    columns = {"who": draw.rng.integers(4, size=n), "y": draw.normals(n), "x": draw.normals(n)}
    choice = {"target": "y", "group": "who", "features": draw.choice((None, ["x"]))}
    if draw.chance(0.5):
        columns["x"] = draw.rng.integers(0, 300 if draw.wild else 256, n)
        dtype = draw.choice(("uint8", "float16", np.float32, BFLOAT16))
        choice |= {"dtype": dtype, "scale": draw.positive() / 255 if dtype == "uint8" else None}
    return Call(af.Tasks.from_frame, [pd.DataFrame(columns)], choice, raises=(ImportError,))


def tasks_methods(draw):
    some = tasks_of(draw)
    named = af.Tasks.from_groups(np.ones((3, 2)), [1, 2, 3], draw.choice((list("aba"), [1, 2, 1])))
    calls = (
        Call(named.number, [draw.choice(named.keys.tolist())], raises=(KeyError,)),
        Call(some.__getitem__, [draw.integer(0, len(some) - 1)], raises=(IndexError,)),
        Call(some.__getitem__, [draw.rng.integers(len(some), size=3)], raises=(IndexError,)),
        Call(some.__getitem__, [np.ones(len(some), bool)], raises=(IndexError,)),
        Call(some.split, [0.5, 3]),
        Call(some.shots, [1]),
        Call(
            lambda *a, **k: list(some.rounds(*a, **k)),
            [2],
            {"n_passes": 2, "seed": 0},
            fixed=("n_passes",),
        ),
        Call(some.to, ["cpu"], raises=(ImportError,)),
        Call(lambda: pickle.loads(pickle.dumps(some))),
        Call(repr, [some]),
    )
    return draw.choice(calls)


# ---- rules and runs ------------------------------------------------------------------------------


def rule_arguments(draw, n):
    kind = draw.choice(get_args(Rule))
    needed = [field.type for field in fields(kind) if field.default is MISSING]
    return kind, [
        draw.positives(n) if each is not float and draw.chance(0.5) else draw.positive()
        for each in needed
    ]


def rules(draw):
    kind, args = rule_arguments(draw, draw.size())
    return Call(kind, args)


def rule_of(draw, n):
    """A rule; where what was drawn is refused, another."""
    kind, args = rule_arguments(draw, n)
    with contextlib.suppress(ValueError):
        if draw.device is None or kind not in (af.EG, af.Proximal):
            return kind(*args)
    return af.OGD(0.1)


def n_parameters(loss, n_features):
    return 2 * n_features if loss == "softmax" else n_features


def start(draw, rule, n, n_tasks=None):
    """phi, for EG inside the simplex."""
    shape = n if n_tasks is None else (n_tasks, n)
    if isinstance(rule, af.EG):
        values = 0.1 + draw.rng.random(shape)
        return draw.array(values / values.sum(axis=-1, keepdims=True))
    return draw.normals(shape)


def run_options(draw):
    radius = draw.choice((None, None, draw.positive() + 10.0))
    return {
        "batch_size": draw.integer(1, 4),
        "n_epochs": draw.integer(1, 3),
        "radius": radius,
    }


def drawn_run(draw):
    """Tasks, loss, phi and rule that go together."""
    loss = draw.choice(LOSSES)
    some = tasks_of(draw, loss)
    n = n_parameters(loss, some.n_features)
    rule = rule_of(draw, n)
    if isinstance(rule, af.EG) and loss == "softmax":
        rule = af.OGD(0.1)
    own = len(some) if draw.chance(0.2) else None
    return some, loss, start(draw, rule, n, own), rule


def run_tasks(draw):
    some, loss, phi, rule = drawn_run(draw)
    kwargs = {"loss": loss, **run_options(draw), "average": draw.chance(0.3)}
    if isinstance(rule, af.EG):
        kwargs["radius"] = None
    if isinstance(rule, af.Proximal):
        kwargs = {"loss": loss}
    function = af.run_tasks
    if draw.chance(0.3):
        function = af.adapt
        kwargs.pop("average", None)
    return Call(function, [some, phi, rule], kwargs, fixed=("n_epochs",))


def meta_fit(draw):
    draw.device = None
    loss = draw.choice([loss for loss in LOSSES if loss not in ("absolute", "hinge")])
    covariance = draw.choice(("auto", "full", "diagonal"))
    return Call(af.meta_fit, [tasks_of(draw, loss)], {"loss": loss, "covariance": covariance})


def evaluate(draw):
    some, loss, phi, _ = drawn_run(draw)
    return Call(af.evaluate, [some, phi], {"loss": loss})


# ---- the library itself --------------------------------------------------------------------------


def threads(draw):
    def used(n):
        try:
            af.set_num_threads(n)
            values = np.ones(3)
            af.step(values, np.ones(3), 0.5)
        finally:
            af.set_num_threads(None)

    return Call(used, [draw.choice((None, 1, 2))])


def info(_draw):
    return Call(af.info)


ENTRIES = (
    *map(step_entry, KERNELS),
    *map(planned_entry, KERNELS),
    *(
        tasks,
        from_groups,
        from_frame,
        tasks_methods,
        rules,
        run_tasks,
        run_tasks,
        evaluate,
        threads,
        info,
    ),
)
