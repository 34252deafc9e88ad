"""The entries of engines that others built: users of pfl, a Dask cluster, a group of processes.

Each is given the draw, and what its engine needs; called by test_fuzz_engines.py, where these are.
"""

from __future__ import annotations

import tempfile
from functools import cache

import numpy as np

import aruba_fast as af
from aruba_fast.federated import Round

from .calls import Broken, Call
from .entries import tasks_of
from .learners import meta_steps

D = 3


def _learner(draw, n=D):
    """One that shortens tasks, whose rate is known or not, as often."""
    rate = draw.choice(("auto", 0.1))
    return af.MetaLearner(draw.array(draw.rng.normal(size=n)), learning_rate=rate)


def _tame(draw, n_tasks=3, n=D):
    x = draw.array(draw.rng.normal(size=(n_tasks, 2, n)))
    return af.Tasks(x, draw.array(draw.rng.normal(size=(n_tasks, 2))))


# ---- pfl -----------------------------------------------------------------------------------------


def _model(draw):
    from aruba_fast.pfl import LinearModel

    return LinearModel(_learner(draw), "squared")


def _users(draw):
    from aruba_fast.pfl import People

    return [user for user, _ in People(_tame(draw)).get_cohort(3)]


def people(draw, _):
    """Users, and the next cohort of them."""
    from aruba_fast.pfl import People

    def drawn(tasks, size, seed):
        found = People(tasks, seed=seed)
        together, alone = found.cohort(size), [*People(tasks, seed=seed).get_cohort(size)]
        if (0 if together is None else len(together)) != len(alone):
            raise Broken("a cohort is not its users")

    return Call(drawn, [tasks_of(draw), draw.integer(0, 2), draw.integer(0, 9)])


def linear_model(draw, _):
    from aruba_fast.pfl import LinearModel

    kwargs = {
        "weights": draw.choice((None, "rows")),
        "batch_size": draw.integer(1, 3),
        "n_epochs": draw.integer(1, 2),
        "meta_step": meta_steps(draw),
    }
    return Call(LinearModel, [_learner(draw), draw.choice(("squared", "absolute"))], kwargs)


def answer(draw, _):
    """One user among others, whose rows are anything."""
    from pfl.data.dataset import Dataset

    model, others = _model(draw), _users(draw)

    def told(x, y, row_weights):
        return model.answer([others[0], Dataset((x, y, row_weights)), others[1]])

    own = _tame(draw, 1)
    rows = [draw.array(own.x), draw.array(own.y), draw.positives(2, float)]
    return Call(told, rows, states=(model.learner,))


def answers(draw, _):
    model = _model(draw)
    return Call(model.answer, [draw.choice((_users(draw), _tame(draw)))], states=(model.learner,))


def evaluated(draw, _):
    from pfl.metrics import StringMetricName

    model, users = _model(draw), _users(draw)
    if model.round().rule is None:
        model.learner.first_rate(_tame(draw), loss="squared")
        model.apply_model_update(None)
    support = draw.choice((None, _users(draw)))
    given = [users, StringMetricName, support]  # the names are pfl's
    return Call(model.evaluate_users, given, fixed=(1,), states=(model.learner,))


def update(draw, _):
    """What a round has told, or something else."""
    from aruba_fast.pfl._statistics import statistics_of

    model = _model(draw)
    told = statistics_of(model.answer(_users(draw)))
    return Call(model.apply_model_update, [told], states=(model.learner,))


def statistics(draw, _):
    from aruba_fast.pfl import ArubaStatistics

    sent = Round.of(af.MetaLearner(np.zeros(D), learning_rate=0.1), 0)
    reply = sent.reply(af.TaskRun(np.ones((1, D)), np.ones((1, D))))

    def both(reply, weight):
        made = ArubaStatistics(reply)
        made.reweight(weight)
        return (made + made).reply

    return Call(both, [reply, draw.positive()])


def vectors(_draw, _):
    """What pfl's privacy makes of the vectors of a round."""
    from aruba_fast.pfl import ArubaStatistics

    sent = Round.of(af.MetaLearner(np.zeros(D), learning_rate=0.1), 0)
    made = ArubaStatistics(sent.reply(af.TaskRun(np.ones((1, D)), np.ones((1, D)))))
    known, sums = made.get_weights()
    return Call(lambda known, *sums: str(made.from_weights(known, [*sums])), [known, *sums])


def torch_model(draw, _):
    import torch

    from aruba_fast.pfl import TorchModel
    from aruba_fast.torch import MetaOptimizer

    meta = MetaOptimizer([torch.nn.Parameter(torch.zeros(D))])
    learner = af.MetaLearner(np.zeros(D, np.float32))
    kwargs = {
        "metrics": draw.choice((None, {"loss": len})),
        "weights": draw.choice((None, "rows")),
        "meta_step": meta_steps(draw),
    }
    return Call(TorchModel, [learner, meta, len], kwargs)


def backend(draw, _):
    from aruba_fast.pfl import ArubaBackend, People

    users = People(_tame(draw))
    return Call(ArubaBackend, [users, users, draw.choice((None, []))])


def asked(draw, _):
    """What pfl's loop asks of the algorithm."""
    from pfl.algorithm.base import PersonalizedNNAlgorithmParams
    from pfl.hyperparam.base import ModelHyperParams

    from aruba_fast.pfl import ArubaAlgorithm

    params = PersonalizedNNAlgorithmParams(3, 1, 2, 2, 0.5, 1, 1)
    given = [_model(draw), 0, params, ModelHyperParams()]
    return Call(ArubaAlgorithm().get_next_central_contexts, given, fixed=(1, 3))


def folder(draw, _):
    model = _model(draw)
    place = tempfile.gettempdir() + "/aruba-fuzz-pfl"
    model.save(place)
    return Call(model.load, [place], states=(model.learner,), raises=(OSError, *_absent()))


@cache
def _absent():
    from pfl.exception import CheckpointNotFoundError

    return (CheckpointNotFoundError,)


# ---- processes of PyTorch ------------------------------------------------------------------------


def _ran(draw):
    """An optimizer whose round has tasks, and what it learns from."""
    import torch

    from aruba_fast.torch import MetaOptimizer

    weight = torch.nn.Parameter(torch.zeros(D))
    meta = MetaOptimizer([weight], learning_rate=0.1)
    for _ in range(draw.integer(1, 3)):
        goal = torch.from_numpy(draw.rng.normal(size=D).astype(np.float32))
        with meta.task() as optimizer:
            for _ in range(2):
                optimizer.zero_grad()
                (weight - goal).square().sum().backward()
                optimizer.step()
    return meta


def group_step(draw, group):
    meta = _ran(draw)
    kwargs = {"meta_step": meta_steps(draw), "process_group": group}
    return Call(meta.step, [], kwargs, states=meta.learners, raises=(RuntimeError,))


def follow(draw, _):
    meta, draw.dtype = _ran(draw), np.float32
    sent = Round.of(_learner(draw), 0)
    return Call(meta.follow, [sent], states=meta.learners)


# ---- Dask ----------------------------------------------------------------------------------------


def dask_train(draw, given):
    from aruba_fast.dask import meta_train

    client, files = given
    learner = af.MetaLearner(np.zeros(D))
    kwargs = {
        "loss": draw.choice(("squared", "absolute")),
        "round_size": draw.integer(2, 9),
        "rule": "descent",
        "batch_size": draw.integer(1, 3),
        "n_epochs": draw.integer(1, 2),
        "radius": draw.choice((None, 10.0)),
        "weights": draw.choice((None, "rows")),
        "meta_step": meta_steps(draw),
        "client": client,
    }
    return Call(meta_train, [files, learner], kwargs, fixed=("n_epochs",), states=(learner,))


PFL = (
    *(people, linear_model, answer, answers, evaluated, update, statistics, vectors),
    *(torch_model, backend, asked, folder),
)
TORCH = (group_step, follow)
DASK = (dask_train,)
