"""The entries of the API with valid arguments: steps, tasks, runs, the meta-learner, files."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np

import aruba_fast as af

from .calls import Broken, Call

LOSSES = ("squared", "absolute", "huber", "logistic", "hinge", "softmax")
FOLDER = Path(tempfile.gettempdir()) / f"aruba-fuzz-{os.getpid()}"


# ---- steps ---------------------------------------------------------------------------------------


def _arrays(draw, count, makers):
    """Arrays of one shape for every maker, or lists of them; tensors of PyTorch at times."""
    n_lists = draw.choice((0, 0, 0, 1, 2, 5))
    shapes = []
    for _ in range(max(1, n_lists)):
        shapes.append([draw.size() for _ in range(draw.choice((1, 1, 2, 3)))])
        if draw.wild and draw.chance(0.05):
            shapes[-1][0] = 0
    use_torch = draw.torch is not None and draw.device is None and draw.chance(0.15)

    def one(make, shape):
        value = make(shape)
        return draw.torch.from_numpy(value) if use_torch else value

    columns = [[one(make, shape) for shape in shapes] for make in makers[:count]]
    return columns if n_lists else [column[0] for column in columns]


def step(draw):
    theta, grad, grad_sq, rates = _arrays(
        draw, 4, (draw.normals, draw.normals, draw.positives, draw.positives)
    )
    rate = draw.choice((draw.positive(), rates))
    kwargs = {"grad_sq": draw.choice((None, grad_sq))}
    return Call(af.step, [theta, grad, rate], kwargs, modified=(0, "grad_sq"))


def aruba_step(draw):
    four = _arrays(draw, 4, (draw.normals, draw.normals, draw.positives, draw.positives))
    return Call(af.aruba_step, four, {"coef": draw.positive()}, modified=(0, 3))


def adagrad_step(draw):
    three = _arrays(draw, 3, (draw.normals, draw.normals, draw.positives))
    kwargs = {"learning_rate": draw.positive(), "delta": draw.positive()}
    return Call(af.adagrad_step, three, kwargs, modified=(0, 2))


# ---- tasks ---------------------------------------------------------------------------------------


def labels(draw, loss, n):
    if draw.wild and draw.chance(0.05):
        return draw.normals(n)
    if loss in ("logistic", "softmax"):
        return draw.array(draw.rng.integers(2, size=n))
    if loss == "hinge":
        return draw.array(2 * draw.rng.integers(2, size=n) - 1)
    return draw.normals(n)


def tasks_of(draw, loss="squared", n_features=None):
    """Tasks of different sizes."""
    sizes = [draw.integer(1, 5) for _ in range(draw.choice((1, 2, 3, 5)))]
    n = sum(sizes)
    x = draw.normals((n, n_features or draw.size()))
    return af.Tasks(x, labels(draw, loss, n), np.cumsum([0, *sizes]))


def tasks(draw):
    n_tasks, m = draw.integer(1, 5), draw.integer(1, 4)
    if draw.chance(0.5):
        x, y = draw.normals((n_tasks, m, draw.size())), draw.normals((n_tasks, m))
        return Call(af.Tasks, [x, y])
    x, y = draw.normals((n_tasks * m, draw.size())), draw.normals(n_tasks * m)
    return Call(af.Tasks, [x, y], {"offsets": np.arange(0, n_tasks * m + 1, m)})


def from_groups(draw):
    n = draw.integer(1, 12)
    group = draw.rng.integers(4, size=n)
    kinds = (int, float, str, "M8[s]", object, np.int8)
    return Call(
        af.Tasks.from_groups,
        [draw.normals((n, draw.size())), draw.normals(n), group.astype(draw.choice(kinds))],
    )


def tasks_methods(draw):
    some = tasks_of(draw)
    calls = (
        Call(some.__getitem__, [draw.integer(0, len(some) - 1)], raises=(IndexError,)),
        Call(some.__getitem__, [draw.rng.integers(len(some), size=3)], raises=(IndexError,)),
        Call(some.__getitem__, [np.ones(len(some), bool)], raises=(IndexError,)),
        Call(some.split, [0.5, 3]),
        Call(some.shots, [1]),
        Call(lambda *a, **k: list(some.rounds(*a, **k)), [2], {"n_passes": 2, "seed": 0},
             fixed=("n_passes",)),
        Call(some.to, ["cpu"], raises=(ImportError,)),
        Call(lambda: pickle.loads(pickle.dumps(some))),
        Call(repr, [some]),
    )
    return draw.choice(calls)


# ---- rules and runs ------------------------------------------------------------------------------


def rule_arguments(draw, n):
    several = draw.chance(0.5)
    some = draw.positives(n) if several else draw.positive()
    return draw.choice(
        (
            (af.OGD, [some]),
            (af.AdaGrad, [draw.positive(), draw.positive()]),
            (af.ArubaPlusPlus, [some, draw.positives(n), draw.positive()]),
            (af.EG, [draw.positive()]),
        )
    )


def rules(draw):
    kind, args = rule_arguments(draw, draw.size())
    return Call(kind, args)


def rule_of(draw, n):
    """A rule; where what was drawn is refused, another."""
    kind, args = rule_arguments(draw, n)
    with contextlib.suppress(ValueError):
        if draw.device is None or kind is not af.EG:
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
    own = len(some) if draw.chance(0.2) else None
    return some, loss, start(draw, rule, n, own), rule


def run_tasks(draw):
    some, loss, phi, rule = drawn_run(draw)
    kwargs = {"loss": loss, **run_options(draw), "average": draw.chance(0.3)}
    if isinstance(rule, af.EG):
        kwargs["radius"] = None
    return Call(af.run_tasks, [some, phi, rule], kwargs, fixed=("n_epochs",))


def evaluate(draw):
    some, loss, phi, _ = drawn_run(draw)
    return Call(af.evaluate, [some, phi], {"loss": loss})


# ---- across tasks --------------------------------------------------------------------------------


def learner_options(draw):
    return {
        "learning_rate": draw.positive(),
        "zeta": draw.positive(),
        "p": draw.choice((0.0, 0.4, 1.0, 2.0)),
        "decay": draw.choice((0.0, 0.0, 0.1, 0.9)),
        "isotropic": draw.chance(0.3),
        "max_learning_rate": draw.choice((None, None, draw.positive())),
    }


def learner_of(draw, n):
    """A learner that has seen a round, or none."""
    phi = draw.array(draw.rng.normal(size=n))
    try:
        learner = af.MetaLearner(phi, **learner_options(draw))
    except ValueError:
        learner = af.MetaLearner(phi)
    if draw.chance(0.5):
        tame = draw.array(draw.rng.normal(size=(2, n)))
        learner.update(af.TaskRun(tame, tame * tame))
    return learner


def meta_learner(draw):
    return Call(af.MetaLearner, [draw.normals(draw.size())], learner_options(draw))


def task_run(draw):
    shape = (draw.integer(0, 4), draw.size())
    kwargs = {
        "theta_bar": draw.choice((None, draw.normals(shape))),
        "loss": draw.choice((None, draw.normals(shape[0], float))),
        "weight": draw.choice((None, draw.positives(shape[0], float))),
    }
    return Call(af.TaskRun, [draw.normals(shape), draw.positives(shape)], kwargs)


def round_of(draw, n):
    """A round of tasks that were run elsewhere."""
    shape = (draw.integer(1, 20) if draw.chance(0.2) else draw.integer(1, 4), n)
    squares = draw.normals(shape) if draw.spice and draw.chance(0.3) else draw.positives(shape)
    with contextlib.suppress(ValueError):  # where what was drawn is refused
        return af.TaskRun(draw.normals(shape), squares)
    tame = draw.array(draw.rng.normal(size=shape))
    return af.TaskRun(tame, tame * tame)


def meta_steps(draw):
    fixed = draw.positive()
    return draw.choice((None, 0.0, 1.0, fixed, lambda n: 1.0 / (1 + n), lambda _: fixed, lambda _: None))


def learner_methods(draw):
    n = draw.size()
    learner, run = learner_of(draw, n), round_of(draw, n)
    weights = draw.choice((None, draw.positives(len(run), float)))
    states = (learner,)
    kwargs = {"weights": weights, "meta_step": meta_steps(draw)}

    def twice(run, **kwargs):
        learner.update(run, **kwargs)
        learner.update(run, **kwargs)

    def in_parts(run, weights, meta_step):
        """`update` and `apply(statistics())` are one, also where they refuse."""
        ends = []
        for learn in (
            lambda one: one.update(run, weights=weights, meta_step=meta_step),
            lambda one: one.apply(one.statistics(run, weights), meta_step),
        ):
            one = pickle.loads(pickle.dumps(learner))
            try:
                learn(one)
            except (ValueError, TypeError) as error:
                ends.append(type(error))
            else:
                ends.append((bytes_of(one), one.b.tobytes(), one.g.tobytes(), one.n_skipped))
        if ends[0] != ends[1]:
            raise Broken("update is not apply(statistics())")

    calls = (
        Call(learner.update, [run], kwargs, states=states),
        Call(learner.update, [run], kwargs, states=states),
        Call(twice, [run], kwargs, fixed=(0, "weights", "meta_step"), states=()),
        Call(in_parts, [run, weights, kwargs["meta_step"]]),
        Call(learner.statistics, [run, weights], states=states),
        Call(learner.rule, [draw.choice((None, draw.positive()))], states=states),
        Call(learner.to, ["cpu"], raises=(ImportError,)),
        Call(lambda: pickle.loads(pickle.dumps(learner)), states=states),
        Call(repr, [learner]),
    )
    return draw.choice(calls)


def apply(draw):
    n = draw.size()
    learner = learner_of(draw, n)
    parts = [learner.statistics(round_of(draw, n)) for _ in range(draw.integer(1, 3))]
    return Call(learner.apply, [sum(parts), meta_steps(draw)], states=(learner,))


def task_statistics(draw):
    n = draw.size()
    args = [draw.normals((3, 2, n), float), draw.positives(2, float)]
    return Call(af.TaskStatistics, [*args, draw.integer(0, 5), draw.integer(0, 2)])


def added_statistics(draw):
    n = draw.size()
    learner = af.MetaLearner(draw.array(draw.rng.normal(size=n)))
    one, other = (learner.statistics(round_of(draw, n)) for _ in range(2))
    return Call(lambda a, b: a + b, [one, other])


def meta_train(draw):
    loss = draw.choice(LOSSES)
    some = tasks_of(draw, loss)
    learner = learner_of(draw, n_parameters(loss, some.n_features))
    options = run_options(draw)
    if options["radius"] is not None:
        options["radius"] += 1e6
    kwargs = {
        "loss": loss,
        **options,
        "round_size": draw.integer(1, 3),
        "n_passes": draw.integer(1, 2),
        "seed": draw.choice((None, 3)),
        "weights": draw.choice((None, "rows")),
        "meta_step": meta_steps(draw),
        "progress": draw.choice((None, lambda *_: None)),
    }
    fixed = ("n_epochs", "n_passes", "progress", "meta_step")
    return Call(
        af.meta_train, [some, learner], kwargs, fixed=fixed, states=(learner,), gradual=True
    )


def save_and_load(draw):
    learner = learner_of(draw, draw.size())
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / "learner.safetensors"

    def both(path):
        learner.save(path)
        if bytes_of(af.MetaLearner.load(path)) != bytes_of(learner):
            raise Broken("what was loaded is not what was saved")

    return Call(both, [path], raises=(OSError,), states=(learner,), fixed=(0,))


def bytes_of(learner):
    return [learner.phi.tobytes(), np.asarray(learner.learning_rate).tobytes(), learner.n_tasks]


def load_nonsense(draw):
    """What is no checkpoint, and what is no path."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / "nonsense"
    data = bytes(draw.rng.integers(0, 256, draw.integer(0, 60), np.uint8))
    path.write_bytes(draw.choice((data, len(data).to_bytes(8, "little") + data, b"")))
    return Call(af.MetaLearner.load, [draw.choice((path, str(path)))], raises=(OSError,))


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
    *(step, step, aruba_step, adagrad_step),
    *(tasks, from_groups, tasks_methods, rules, run_tasks, run_tasks, evaluate),
    *(meta_learner, task_run, learner_methods, learner_methods, apply, task_statistics),
    *(added_statistics, meta_train, save_and_load, load_nonsense, threads, info),
)
