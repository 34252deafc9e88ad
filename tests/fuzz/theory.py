"""The entries of the theory with valid arguments: optima, bounds, the other learners, risk."""

from __future__ import annotations

import pickle

import numpy as np

import aruba_fast as af
from aruba_fast import theory

from .calls import Call
from .entries import LOSSES, drawn_run, n_parameters, run_options, tasks_of
from .learners import learner_of


def _host(draw):
    """The theory lives in host memory."""
    draw.device = None


def _run(draw):
    """Tasks, loss, start, rule and what they left behind."""
    _host(draw)
    some, loss, phi, rule = drawn_run(draw)
    return some, loss, phi, rule, af.run_tasks(some, phi, rule, loss=loss)


def best_in_hindsight(draw):
    _host(draw)
    loss = draw.choice(LOSSES)
    kwargs = {
        "loss": loss,
        **run_options(draw),
        "regularization": draw.choice((0.0, draw.positive())),
        "tolerance": draw.choice((1e-8, 1e-4)),
    }
    return Call(theory.best_in_hindsight, [tasks_of(draw, loss)], kwargs, fixed=("n_epochs",))


def regret(draw):
    some, loss, _, _, run = _run(draw)
    try:
        best = theory.best_in_hindsight(some, loss=loss, regularization=0.1)
    except ValueError:
        return Call(theory.regret, [run, None])
    return Call(theory.regret, [run, best])


def regret_upper_bound(draw):
    _, _, phi, rule, run = _run(draw)
    kwargs = {
        "form": draw.choice(("tight", "blog")),
        "n_steps": draw.choice((None, 3, np.full(len(run), 3))),
        "lipschitz": draw.positive(),
        "diameter": draw.choice((None, draw.positive())),
        "gradient": draw.chance(0.5),
    }
    args = [run, draw.normals(run.theta_hat.shape, float), phi, rule]
    return Call(theory.regret_upper_bound, args, kwargs)


def follow_the_leader(draw):
    _host(draw)
    loss = draw.choice(LOSSES)
    some = tasks_of(draw, loss)
    phi = draw.normals(n_parameters(loss, some.n_features), some.dtype)
    return Call(theory.follow_the_leader, [some, phi, af.Proximal(draw.positive())], {"loss": loss})


def task_similarity(draw):
    _host(draw)
    shape = (draw.integer(1, 5), draw.size())
    kwargs = {
        "kind": draw.choice(("euclidean", "coordinate", "kl")),
        "phi": draw.choice((None, draw.normals(shape[1], float))),
        "weights": draw.choice((None, draw.positives(shape[0], float))),
    }
    best = draw.positives(shape, float)
    if kwargs["kind"] == "kl":
        with np.errstate(all="ignore"):
            best = best / best.sum(axis=1, keepdims=True)
        kwargs["phi"] = None
    return Call(theory.task_similarity, [best], kwargs)


def scale_options(draw):
    return {
        "diameter": draw.positive(),
        "eps": draw.choice((None, draw.positive())),
        "n_tasks": draw.choice((None, 9)),
        "method": draw.choice(("ftl", "ewoo")),
        "lipschitz": draw.positive(),
        "max_steps": draw.choice((None, 9)),
    }


def scale_learner(draw):
    _host(draw)
    return Call(theory.ScaleLearner, kwargs=scale_options(draw))


def _made(kind, draw, options, *args):
    """A learner; where what was drawn is refused, a tame one."""
    try:
        return kind(*args, **options(draw))
    except ValueError:
        draw.spice = False
        tame = {
            theory.ScaleLearner: {"diameter": 1.0, "eps": 0.5},
            theory.InitializationExperts: {"n_tasks": 9, "diameter": 1.0},
        }
        return kind(*args, **tame.get(kind, {}))


def scale_methods(draw):
    _host(draw)
    learner = _made(theory.ScaleLearner, draw, scale_options)
    shape = (draw.integer(1, 4), draw.size())
    args = [draw.normals(shape, float), draw.normals(shape[1], float), draw.integer(1, 9)]
    calls = (
        Call(learner.update, args, states=(learner,)),
        Call(learner.update, args, states=(learner,)),
        Call(learner.rule, [draw.integer(1, 9)], states=(learner,)),
        Call(repr, [learner]),
    )
    return draw.choice(calls)


def experts_options(draw):
    return {
        "n_tasks": draw.integer(1, 30),
        "alphas": draw.choice((None, [0.5, 0.1])),
        "ratio": 2.0,
        "diameter": draw.choice((None, draw.positive())),
    }


def initialization_experts(draw):
    _host(draw)
    return Call(
        theory.InitializationExperts, [draw.normals(draw.size(), float)], experts_options(draw)
    )


def experts_methods(draw):
    _host(draw)
    n = draw.size()
    learner = _made(theory.InitializationExperts, draw, experts_options, draw.rng.normal(size=n))
    theta = draw.normals(draw.choice((n, (2, n))), float)
    return Call(learner.update, [theta], states=(learner,))


def dynamic(draw):
    _host(draw)
    shape = (draw.integer(1, 5), draw.size())
    args = [draw.normals(shape, float) for _ in range(3)]
    if draw.chance(0.5):
        return Call(theory.dynamic_regret, args)
    kwargs = {"alpha": draw.positive(), "diameter": draw.positive()}
    return Call(theory.dynamic_regret_bound, args, kwargs)


def simplex_options(draw):
    return {
        "learning_rate": draw.positive(),
        "mixing": draw.choice((0.01, 0.5)),
        "zeta": draw.positive(),
        "p": draw.choice((0.4, 1.0)),
    }


def simplex_learner(draw):
    _host(draw)
    return Call(theory.SimplexLearner, [draw.size()], simplex_options(draw))


def simplex_methods(draw):
    _host(draw)
    some = tasks_of(draw, "squared")
    learner = _made(theory.SimplexLearner, draw, simplex_options, max(2, some.n_features))
    options = {"batch_size": draw.integer(1, 3), "n_epochs": draw.integer(1, 3)}
    n = max(2, some.n_features)
    ends = 0.1 + draw.rng.random((3, n))
    run = af.TaskRun(ends / ends.sum(axis=1, keepdims=True), np.ones((3, n)))
    calls = (
        Call(learner.run, [some], {"loss": "squared", **options}, fixed=("n_epochs",)),
        Call(learner.update, [run], states=(learner,)),
        Call(learner.rule, [], states=(learner,)),
    )
    return draw.choice(calls)


def full_matrix_options(draw):
    return {"learning_rate": draw.positive(), "zeta": draw.positive(), "p": 1.0}


def full_matrix_learner(draw):
    _host(draw)
    n = draw.integer(1, 6)
    return Call(theory.FullMatrixLearner, [draw.normals(n, float)], full_matrix_options(draw))


def full_matrix_methods(draw):
    _host(draw)
    draw.dtype = np.float64
    n = draw.integer(1, 6)
    some = tasks_of(draw, "squared", n)
    learner = _made(theory.FullMatrixLearner, draw, full_matrix_options, draw.rng.normal(size=n))
    run = learner.run(some, loss="squared")
    options = {"batch_size": draw.integer(1, 3), "n_epochs": draw.integer(1, 3)}
    bound = [run, draw.normals((len(some), n), float)]
    calls = (
        Call(learner.run, [some], {"loss": "squared", **options}, fixed=("n_epochs",)),
        Call(learner.update, [run], {"meta_step": draw.choice((None, 0.5))}, states=(learner,)),
        Call(learner.regret_upper_bound, bound, states=(learner,)),
        Call(lambda: pickle.loads(pickle.dumps(learner)), states=(learner,)),
    )
    return draw.choice(calls)


def meta_average(draw):
    _host(draw)
    average, n = theory.MetaAverage(), draw.size()
    average.add(learner_of(draw, n))
    return Call(average.add, [learner_of(draw, n), draw.integer(1, 3)])


def transfer_risk(draw):
    _host(draw)
    some, loss, phi, rule = drawn_run(draw)
    kwargs = {
        **run_options(draw),
        "loss": loss,
        "last": draw.chance(0.5),
        "confidence": draw.choice((0.95, 0.5)),
    }
    if isinstance(rule, af.EG):
        kwargs["radius"] = None
    return Call(theory.transfer_risk, [some, some, phi, rule], kwargs, fixed=("n_epochs",))


ENTRIES = (
    *(best_in_hindsight, regret, regret_upper_bound, task_similarity, transfer_risk),
    *(scale_learner, scale_methods, initialization_experts, experts_methods, dynamic),
    *(simplex_learner, simplex_methods, full_matrix_learner, full_matrix_methods, meta_average),
    follow_the_leader,
)
