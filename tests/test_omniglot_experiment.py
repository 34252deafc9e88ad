"""Reptile on Omniglot: training and testing against naive ones, rates, scales."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reference_meta
from few_shot import DATA, EVALUATION, NAMES, SETTINGS, Rule, adapt, forward, passes, predictions
from torch_models import flat, torch

from aruba_fast.datasets import Episodes
from aruba_fast_reproductions.batches import mini_batches
from aruba_fast_reproductions.omniglot import EvaluationSettings, Settings, compare, of_scale
from aruba_fast_reproductions.omniglot import evaluation as its_evaluation
from aruba_fast_reproductions.omniglot import training as its_training
from aruba_fast_reproductions.omniglot.evaluation import evaluate, predict
from aruba_fast_reproductions.omniglot.methods import Method
from aruba_fast_reproductions.omniglot.network import LAYERS, network
from aruba_fast_reproductions.omniglot.rates import QUANTILES, rates_of
from aruba_fast_reproductions.omniglot.training import OmniglotTraining, paper

pytestmark = pytest.mark.usefixtures("one_thread")
methods = pytest.mark.parametrize("name", NAMES)


def made(name, settings=SETTINGS, seed=3):
    train, _ = DATA.split_characters(settings.n_train, settings.split_seed)
    return OmniglotTraining(DATA.images, train, Method.of(name), settings, seed)


@pytest.fixture
def in_float64(monkeypatch):
    """Networks and images in float64: a rounding that turns a unit off parts runs for good."""
    wide = {"network": network, "paper": paper}
    for module in (its_training, its_evaluation):
        for name in vars(module).keys() & wide:
            made_narrow = wide[name]
            monkeypatch.setattr(
                module, name, lambda *args, of=made_narrow, **named: of(*args, **named).double()
            )


@pytest.mark.parametrize(("n", "batch", "steps"), [(6, 4, 5), (5, 5, 3), (7, 3, 1), (3, 8, 4)])
def test_mini_batches_are_reptiles(n, batch, steps):
    """Every pass is a permutation, batches straddle passes, and a task depends on its number."""
    found = mini_batches(7, 11, 40, n_samples=n, batch=batch, steps=steps)
    assert found.shape == (40, steps, batch)
    flat = found.reshape(40, -1)
    n_passes = -(-flat.shape[1] // n)
    for task in flat:
        for k in range(n_passes):
            part = task[k * n : (k + 1) * n]
            assert len(set(part.tolist())) == len(part)
    longer = mini_batches(7, 11, 40, n_samples=n, batch=n, steps=n_passes)
    for task, orders in zip(found, longer, strict=True):
        expected = passes(lambda k, orders=orders: orders[k].tolist(), n, batch, steps)
        np.testing.assert_array_equal(task, expected)
    alone = mini_batches(7, 20, 1, n_samples=n, batch=batch, steps=steps)
    np.testing.assert_array_equal(found[9], alone[0])
    assert len({task.tobytes() for task in longer}) == 40  # tasks have orders of their own
    first = [(longer[:, 0, 0] == sample).mean() for sample in range(n)]
    assert max(first) < 3.5 / n


def test_the_network_follows_its_equations():
    state = torch.random.get_rng_state()
    model = network(5, seed=1)
    assert (torch.random.get_rng_state() == state).all()
    x = torch.rand(6, 1, 28, 28)
    expected = forward(model, x)
    np.testing.assert_allclose(model(x).detach().numpy(), expected.numpy(), atol=2e-5)
    assert sum(p.numel() for p in model.parameters()) == 9 * 64 + 3 * 9 * 64**2 + 8 * 64 + 5 * 257
    # Glorot's uniform: bound sqrt(6 / (fan in + fan out)).
    for k, fans in ((0, 9 + 9 * 64), (3, 9 * 128), (13, 256 + 5)):
        weight, bound = model[k].weight, (6 / fans) ** 0.5
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    same, other = network(5, seed=1), network(5, seed=2)
    assert torch.equal(model[0].weight, same[0].weight)
    assert not torch.equal(model[0].weight, other[0].weight)


@methods
@pytest.mark.usefixtures("in_float64")
def test_training_is_reptile(name):
    """phi, and b and g where rates are learned, after the iterations of a naive Reptile."""
    training, settings = made(name), SETTINGS
    model = made(name).model
    train, _ = DATA.split_characters(6, 0)
    episodes = Episodes(DATA.images, train, n_way=2, k_shot=3, n_query=0, rotations=True, seed=3)
    start, adam = flat(model.parameters()), Rule("adam", 1e-3)
    adam.second = [torch.zeros_like(p) for p in model.parameters()]
    learns = name in ("isotropic", "aruba")
    first = searched(training, start) if learns else 0
    oracle = reference_meta.MetaLearner(start, **_own(training, model) if learns else {})
    for number in range(first, first + 4):
        if training.meta.n_tasks == oracle.n_tasks:
            training.round(number)
        hats, squares = [], []
        # Of the round in which the first rate is found, the tasks after that are learned from.
        for task in range(2 - (training.meta.n_tasks - oracle.n_tasks), 2):
            index = 2 * number + task
            some = episodes[index]
            x, y = paper(some.support_x, torch.device("cpu")), torch.from_numpy(some.support_y)
            assert torch.equal(x, 1.0 - torch.from_numpy(some.support_x)[:, None])
            (batches,) = mini_batches(3, index, 1, n_samples=6, batch=4, steps=3)
            rates = 0.1 if name == "sgd-0.1" else shaped(oracle.learning_rate, model)
            rule = adam if name == "adam" else Rule("sgd", rates)
            hats.append(flat(adapt(model, rule, x.double(), y, batches).parameters()))
            squares.append(flat(rule.squares))
            rule.squares = None
        step = 1.0 - number / settings.meta_iterations
        phi = flat(model.parameters())
        oracle.update(np.array(hats), np.array(squares), meta_step=step, start=phi)
        with torch.no_grad():
            for p, value in zip(model.parameters(), shaped(oracle.phi, model), strict=True):
                p.copy_(value)
    assert abs(oracle.phi - start).max() > 1e-3
    np.testing.assert_allclose(flat(training.model.parameters()), oracle.phi, atol=1e-9)
    assert training.meta.n_tasks == oracle.n_tasks >= 7
    assert training.meta.n_skipped == 0
    (learner,) = training.meta.learners
    assert learner.zeta == ("auto" if learns else 1.0), "no task of a rival is shortened"
    if learns:
        np.testing.assert_allclose(learner.b, oracle.b, rtol=1e-6, atol=1e-15)
        np.testing.assert_allclose(learner.g, oracle.g, rtol=1e-6, atol=1e-15)


def searched(training, start):
    """Trains until tasks are learned from; returns the number of that meta-iteration."""
    for number in range(SETTINGS.meta_iterations):
        np.testing.assert_array_equal(flat(training.meta.parameters), start)
        training.round(number)
        if training.meta.n_tasks:
            return number
        (learner,) = training.meta.learners
        assert (flat(training.meta.learning_rate) == (learner.initial_learning_rate or 0.0)).all()
    raise AssertionError("there is no first rate")


def _own(training, model):
    """What the equations are told of a training: its first rate, and nothing that is chosen."""
    (learner,) = training.meta.learners
    found = {"learning_rate0": learner.initial_learning_rate, "zeta": None, "bound": "tight"}
    if training.method.kind == "isotropic":
        return {**found, "isotropic": True}
    return {**found, "tensors": [p.numel() for p in model.parameters()]}


def shaped(vector, model):
    """A vector as tensors in the shapes of the parameters."""
    parameters = list(model.parameters())
    parts = (
        torch.from_numpy(np.asarray(vector))
        .to(parameters[0].dtype)
        .split([p.numel() for p in parameters])
    )
    return [part.reshape(p.shape) for part, p in zip(parts, parameters, strict=True)]


@methods
@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.usefixtures("in_float64")
def test_evaluation_is_reptiles(name, transductive):
    """The right answers of every task, counted by a naive test of the same network."""
    training = made(name)
    start = flat(training.model.parameters())
    training.round(searched(training, start) + 1 if training.inner is None else 0)
    before = [p.detach().clone() for p in training.model.parameters()]
    state = training.state()
    _, test = DATA.split_characters(6, 0)
    episodes = Episodes(DATA.images, test, n_way=2, k_shot=3, n_query=4, seed=5)
    settings = replace(EVALUATION, transductive=transductive, steps=5)
    coefs = (None, "auto") if name == "aruba" else (None,)
    for coef in coefs:
        right = evaluate(training, episodes, 8, settings, coef=coef)
        expected = []
        for index in range(8):
            some = episodes[index]
            support, query = (
                paper(v, torch.device("cpu")).double() for v in (some.support_x, some.query_x)
            )
            (batches,) = mini_batches(5, index, 1, n_samples=6, batch=2, steps=5)
            rule = _rule(training, coef)
            model = adapt(training.model, rule, support, torch.from_numpy(some.support_y), batches)
            found = predictions(model, support, query, transductive)
            expected.append((found.numpy() == some.query_y).sum())
        assert right.tolist() == expected
    assert 0 < right.sum() < 8 * 8
    for p, value in zip(training.model.parameters(), before, strict=True):
        assert torch.equal(p, value)
    assert_same_state(training.state(), state)


def _rule(training, coef):
    if coef is not None:
        (learner,) = training.meta.learners
        n_tasks = training.meta.n_tasks
        parts = (shaped(values, training.model) for values in (learner.b, learner.g))
        b, g = ([v + v.mean() / n_tasks for v in part] for part in parts)
        return Rule("aruba++", b=b, g=g, coef=4 * n_tasks)  # the bound is the tight one
    if training.method.kind == "adam":
        state = training.inner.state_dict()["state"]
        assert state[0]["step"] == 6  # two tasks of three steps: it is kept over tasks
        return Rule("adam", 1e-3, second=[s["exp_avg_sq"] for s in state.values()], n_steps=6)
    return Rule("sgd", 0.1 if training.method.kind == "sgd" else training.meta.learning_rate)


def assert_same_state(found, expected):
    assert found[1] == expected[1]
    assert found[0].keys() == expected[0].keys()
    for name, values in expected[0].items():
        np.testing.assert_array_equal(found[0][name], values)
        assert found[0][name].dtype == values.dtype


def test_queries_share_their_batch_or_do_not():
    """Inductive answers do not depend on the other queries, transductive ones do."""
    training = made("sgd-0.1")
    _, test = DATA.split_characters(6, 0)
    episodes = Episodes(DATA.images, test, n_way=2, k_shot=3, n_query=9, seed=5)
    some = episodes.batch(0, 4)
    tasks = (paper(images, torch.device("cpu")) for images in (some.support_x, some.query_x))
    differ = False
    for support, query in zip(*tasks, strict=True):
        whole = [predict(training.model, support, query, shared) for shared in (True, False)]
        parts = [predict(training.model, support, query[::6], shared) for shared in (True, False)]
        np.testing.assert_array_equal(whole[1][::6], parts[1])
        differ |= (whole[0][::6] != parts[0]).any()
        assert predict(training.model, support, query, False).shape == (18,)
    assert differ


def test_rates_are_those_of_the_layers():
    training = made("aruba")
    first = searched(training, flat(training.model.parameters()))
    for number in range(first + 1, first + 4):
        training.round(number)
    found = rates_of(training.meta, training.model)
    rates = dict(zip(training.model.parameters(), training.meta.learning_rate, strict=True))
    assert [entry["layer"] for entry in found if entry["parameter"] == "weight"] == [
        *(f"{kind} {k}" for k in (1, 2, 3, 4) for kind in ("conv", "norm")),
        LAYERS[-1],
    ]
    sizes = [p.numel() for p in training.meta.parameters]
    (learner,) = training.meta.learners
    b, g = (np.split(v, np.cumsum(sizes)[:-1]) for v in (learner.b, learner.g))
    n_tasks = training.meta.n_tasks
    assert n_tasks in (7, 8)
    for k, (entry, (parameter, rate)) in enumerate(zip(found, rates.items(), strict=True)):
        values = rate.double().numpy()
        cuts = np.quantile(np.log(values), QUANTILES)
        np.testing.assert_allclose(np.log(entry["quantiles"]), cuts, atol=1e-3)
        logs = np.log(values)
        if entry["layer"] == "head" and logs.ndim == 2:
            expected = logs.reshape(2, 64, 4).mean(axis=(0, 2))
        else:
            expected = logs.reshape(len(values), -1).mean(axis=1)
        np.testing.assert_allclose(np.log(entry["filter_rates"]), expected, atol=1e-3)
        assert entry["gradient"] == pytest.approx(np.sqrt(g[k].mean() / n_tasks), rel=1e-9)
        assert entry["moved"] == pytest.approx(np.sqrt(b[k].mean() / n_tasks), rel=1e-6)
        assert parameter.shape == rate.shape


@pytest.mark.parametrize("n_way", [5, 20])
def test_scales(n_way):
    training, test = of_scale("paper", n_way)
    wide = n_way == 20
    assert training.meta_iterations == (200_000 if wide else 100_000)
    assert (training.inner_batch, training.inner_steps) == ((20, 10) if wide else (10, 5))
    assert (training.adam_rate, test.batch) == ((5e-4, 10) if wide else (1e-3, 5))
    assert (test.n_tasks, test.steps, test.shots) == (10_000, 50, (1, 5))
    small_training, small_test = of_scale("laptop", n_way, shots=(2,))
    assert replace(small_training, meta_iterations=training.meta_iterations) == training
    assert small_training.meta_iterations < 10_000
    assert (small_test.steps, small_test.shots) == (50, (2,))
    assert of_scale("paper", n_way, 7)[0].meta_iterations == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Method.of("rmsprop"), "`methods` must be known: got 'rmsprop', expected adam"),
        (lambda: Method.of("sgd"), "`methods` must be known: got 'sgd'"),
        (lambda: Method.of("sgd--1"), "`methods` must be known"),
        (lambda: Method.of("sgd-inf"), "`methods` must be known"),
        (lambda: Method.of("aruba-1"), "`methods` must be known"),
        (lambda: of_scale("moon"), "`scale` must be known: got 'moon', expected laptop or paper"),
        (lambda: Settings(n_way=1), "omniglot: `n_way` must be"),
        (lambda: Settings(inner_steps=0), "omniglot: `inner_steps` must be"),
        (lambda: Settings(adam_rate=0.0), "omniglot: `adam_rate` must be"),
        (lambda: Settings(meta_step=float("nan")), "omniglot: `meta_step` must be"),
        (lambda: EvaluationSettings(shots=()), "`shots` must not be empty"),
        (lambda: EvaluationSettings(shots=(0,)), "omniglot: `shots` must be"),
        (lambda: EvaluationSettings(n_tasks=0), "omniglot: `n_tasks` must be"),
        (lambda: EvaluationSettings(every=-1), "omniglot: `every` must be"),
        (lambda: compare(["adam", "adam"], folder="."), "`methods` must be distinct.*adam, adam"),
        (lambda: compare([], folder="."), "at least one: got none"),
        (lambda: compare(["adam"], folder=".", seeds=0), "omniglot: `seeds` must be"),
        (lambda: compare(["adam"], folder=".", workers=0), "omniglot: `workers` must be"),
        (lambda: compare(["adam"], folder=".", first_seed=-1), "omniglot: `seed` must be"),
        (
            lambda: compare(["adam"], folder=".", device="abacus"),
            "`device` must be one of PyTorch's: got 'abacus', expected cpu or cuda",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
