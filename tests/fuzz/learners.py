"""The entries of learning across tasks with valid arguments: the meta-learner, sums, files."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np

import aruba_fast as af

from .calls import Broken, Call
from .entries import LOSSES, n_parameters, run_options, tasks_of

FOLDER = Path(tempfile.gettempdir()) / f"aruba-fuzz-{os.getpid()}"


def learner_options(draw, n):
    first = draw.integer(1, max(1, n - 1))
    tensors = (None, None, [n], [first, n - first], [n, 1])
    return {
        "tensors": draw.choice(tensors),
        "learning_rate": draw.choice(("auto", draw.positive(), draw.positive())),
        "zeta": draw.choice(("auto", draw.positive())),
        "p": draw.choice((0.0, 0.4, 1.0, 2.0)),
        "decay": draw.choice((0.0, 0.0, 0.1, 0.9)),
        "isotropic": draw.chance(0.3),
        "max_learning_rate": draw.choice((None, None, draw.positive())),
        "bound": draw.choice(("blog", "tight")),
        "train": draw.choice(("learned", "scalar")),
    }


def learner_of(draw, n):
    """A learner that has seen a round, or none."""
    phi = draw.array(draw.rng.normal(size=n))
    try:
        learner = af.MetaLearner(phi, **learner_options(draw, n))
    except ValueError:
        learner = af.MetaLearner(phi)
    if draw.chance(0.5):
        tame = draw.array(draw.rng.normal(size=(2, n)))
        with contextlib.suppress(ValueError):  # a smoothing whose unit is not known
            learner.update(af.TaskRun(tame, tame * tame))
    return learner


def meta_learner(draw):
    n = draw.size()
    return Call(af.MetaLearner, [draw.normals(n)], learner_options(draw, n))


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
    return draw.choice(
        (None, 0.0, 1.0, fixed, lambda n: 1.0 / (1 + n), lambda _: fixed, lambda _: None)
    )


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
        Call(learner.rule, [draw.choice(("auto", None, draw.positive()))], states=states),
        Call(learner.diagnose, [], states=states),
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
    return Call(lambda b: one + b, [other])


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
    if draw.chance(0.3):
        kwargs |= {"rule": "proximal", "batch_size": 1, "n_epochs": 1, "radius": None}
    fixed = ("n_epochs", "n_passes", "progress", "meta_step", "rule")
    given = draw.choice((some, some, [some, some], iter([some, some])))
    if given is not some:
        kwargs |= {"n_tasks": draw.choice((None, 2 * len(some))), "history": draw.chance(0.5)}
    if given is not some and not isinstance(given, list):
        kwargs |= {"n_passes": 1, "n_tasks": 2 * len(some)}
    return Call(
        af.meta_train, [given, learner], kwargs, fixed=fixed, states=(learner,), gradual=True
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


ENTRIES = (
    *(meta_learner, task_run, learner_methods, learner_methods, apply, task_statistics),
    *(added_statistics, meta_train, save_and_load, load_nonsense),
)
