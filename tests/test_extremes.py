"""Numbers at the edge of their type: right, refused, or skipped and counted; never a silent nan."""

from __future__ import annotations

from math import exp, log, sqrt

import device
import numpy as np
import pytest
from buffers import snapshot
from cases import dtypes, smoothed

import aruba_fast as af

F32, F64 = np.float32, np.float64
INF, NAN = np.inf, np.nan
TINY, HUGE = float(np.finfo(F32).tiny), float(np.finfo(F32).max)


# ---- hyperparameters in the type of the arrays -----------------------------------------------


def stepped(function, dtype, **options):
    arrays = [np.ones(3, dtype) for _ in range(4 if function == "aruba_step" else 2)]
    if function == "adagrad_step":
        arrays.append(np.ones(3, dtype))
        options = {"learning_rate": 0.5, "delta": 1.0} | options
    before = snapshot(arrays)
    try:
        getattr(af, function)(*arrays, *options.pop("positional", ()), **options)
    except ValueError:
        assert snapshot(arrays) == before
        raise
    return arrays[0]


def ran(dtype, rule=None, **options):
    tasks = af.Tasks(np.ones((1, 2, 1), dtype), np.zeros((1, 2), dtype))
    return af.run_tasks(tasks, np.ones(1, dtype), rule or af.OGD(0.5), loss="squared", **options)


def trained(dtype, **options):
    tasks = af.Tasks(np.ones((1, 2, 1), dtype), np.zeros((1, 2), dtype))
    learner = smoothed(np.zeros(1, dtype), learning_rate=0.1)
    af.meta_train(tasks, learner, loss="squared", **options)


HYPERPARAMETERS = {
    "step learning_rate": lambda v, t: stepped("step", t, positional=(v,)),
    "aruba_step coef": lambda v, t: stepped("aruba_step", t, coef=v),
    "adagrad_step learning_rate": lambda v, t: stepped("adagrad_step", t, learning_rate=v),
    "adagrad_step delta": lambda v, t: stepped("adagrad_step", t, delta=v),
    "run_tasks learning_rate": lambda v, t: ran(t, af.OGD(v)),
    "run_tasks adagrad": lambda v, t: ran(t, af.AdaGrad(v, 1.0)),
    "run_tasks delta": lambda v, t: ran(t, af.AdaGrad(0.5, v)),
    "run_tasks eg": lambda v, t: ran(t, af.EG(v)),
    "run_tasks radius": lambda v, t: ran(t, radius=v) if v > 1 else ran_at_zero(v, t),
    "meta_train radius": lambda v, t: trained(t, radius=v),
}


def ran_at_zero(radius, dtype):
    tasks = af.Tasks(np.ones((1, 2, 1), dtype), np.zeros((1, 2), dtype))
    return af.run_tasks(tasks, np.zeros(1, dtype), af.OGD(0.5), loss="squared", radius=radius)


@pytest.mark.parametrize("entry", HYPERPARAMETERS)
@pytest.mark.parametrize("value", [1e39, 1e200, 1e-39, 1e-46, 1e-200])
def test_a_hyperparameter_is_a_number_of_the_arrays_type(entry, value):
    call = HYPERPARAMETERS[entry]
    with pytest.raises(ValueError, match=r"within float32: got"):
        call(value, F32)
    for good, dtype in ((TINY, F32), (HUGE, F32), (value, F64)):
        call(good, dtype)


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 1e39), ("learning_rate", 1e-39), ("max_learning_rate", 1e-39)],
)
def test_the_first_rate_of_a_learner_is_a_number_of_its_type(name, value):
    with pytest.raises(ValueError, match=f"MetaLearner: `{name}` must be within float32: got"):
        smoothed(np.zeros(1, F32), **{name: value})
    smoothed(np.zeros(1, F64), **{name: value})


@dtypes
@pytest.mark.parametrize("own_rates", [False, True])
@pytest.mark.parametrize("place", [-110, -70, -40, 0, 40, 70, 110])
def test_projections_of_any_length(place, own_rates, dtype, on_some_device):
    """The same tasks in units 2^place larger: the results are those numbers, to rounding."""
    unit = 2.0 ** (place if dtype == F32 else 8 * place)
    rates = np.array([1.0, 0.25, 2.0]) if own_rates else np.ones(3)
    tasks = af.Tasks(np.array([[[1, 2, -3]]], dtype), np.full((1, 1), 9, dtype))
    rule = af.OGD(on_some_device((rates * unit).astype(dtype))) if own_rates else af.OGD(unit)
    run = af.run_tasks(
        on_some_device(tasks), on_some_device(np.zeros(3, dtype)), rule, loss="absolute",
        radius=unit,
    )  # fmt: skip
    found = device.host(run.theta_hat)[0].astype(F64) / unit
    rule = af.OGD(rates.astype(dtype) if own_rates else 1.0)
    plain = af.run_tasks(tasks, np.zeros(3, dtype), rule, loss="absolute", radius=1.0)
    np.testing.assert_allclose(found, plain.theta_hat[0], rtol=8 * np.finfo(dtype).eps)
    assert np.linalg.norm(found) == pytest.approx(1.0, rel=1e-6)


@dtypes
@pytest.mark.parametrize("own_rates", [False, True])
@pytest.mark.parametrize("radius", [1e-30, 1e-3, 1.0, 1e18])
def test_a_giant_step_ends_on_the_sphere(own_rates, dtype, radius, on_some_device):
    """Rates of 1e25 (float64: 1e200): the square of the step is no number."""
    rate = 1e25 if dtype == F32 else 1e200
    if own_rates and radius == 1e-30:
        rate = 1.0  # beyond 1e38 between step and radius nothing is found, and that is said
    rule = af.OGD(on_some_device(np.full(2, rate, dtype))) if own_rates else af.OGD(rate)
    tasks = af.Tasks(np.array([[[3, 4]]], dtype), np.ones((1, 1), dtype))
    run = af.run_tasks(
        on_some_device(tasks), on_some_device(np.zeros(2, dtype)), rule, loss="absolute",
        radius=radius,
    )  # fmt: skip
    expected = radius * np.array([[0.6, 0.8]])
    np.testing.assert_allclose(device.host(run.theta_hat), expected, rtol=8 * np.finfo(dtype).eps)


# ---- labels ----------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
@pytest.mark.parametrize("label", [INF, -INF, NAN, 1e39, -1e300])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_nothing_is_learned_from_a_label_that_is_infinite(
    loss, label, batch_size, dtype, on_some_device
):
    with np.errstate(over="ignore"):
        y = np.array([[0.5, 1.0], [0.5, label], [1.0, -1.0]], dtype)
    tasks = on_some_device(af.Tasks(np.ones((3, 2, 1), dtype), y))
    if np.isfinite(y).all():
        return
    phi = on_some_device(np.zeros(1, dtype))
    learner = smoothed(phi, learning_rate=0.5)
    kept = smoothed(np.zeros(1, dtype), learning_rate=0.5)
    options = {"loss": loss, "batch_size": batch_size}
    history = af.meta_train(tasks, learner, round_size=3, **options)
    others = af.Tasks(np.ones((2, 2, 1), dtype), y[[0, 2]])
    kept.update(af.run_tasks(others, kept.phi, kept.rule(coef=None), **options))
    assert device.host(history.skipped).tolist() == [False, True, False]
    assert (learner.n_tasks, learner.n_skipped) == (2, 1)
    np.testing.assert_array_equal(device.host(learner.learning_rate), kept.learning_rate)
    errors = device.host(af.evaluate(tasks, phi, loss=loss))
    assert np.isfinite(errors).tolist() == [True, False, True]


# ---- the mathematics -------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("theta", [[NAN, 0.0], [0.0, NAN], [NAN, NAN], [INF, 0.0]])
def test_softmax_of_what_is_no_number(theta, dtype, on_some_device):
    for labels in ([0.0], [1.0]):
        tasks = on_some_device(af.Tasks(np.ones((1, 1, 1), dtype), [labels]))
        loss = af.evaluate(tasks, on_some_device(np.array(theta, dtype)), loss="softmax")
        assert np.isnan(device.host(loss)).all()


@pytest.mark.parametrize(
    ("dtype", "least", "rate"),
    [(F32, 1.4e-45, 100.0), (F32, 1e-40, 90.0), (F64, 5e-324, 740.0), (F64, 1e-310, 710.0)],
)
def test_eg_from_a_subnormal_weight(dtype, least, rate):
    tasks = af.Tasks(np.array([[[0, 1]]], dtype), np.full((1, 1), 10, dtype))
    run = af.run_tasks(tasks, np.array([1, least], dtype), af.EG(rate), loss="absolute")
    other = exp(log(dtype(least)) + rate)
    expected = [1 / (1 + other), other / (1 + other)]
    np.testing.assert_allclose(run.theta_hat[0], expected, rtol=2e-5 if dtype == F32 else 1e-12)


@pytest.mark.parametrize("phi", [1e-310, 5e-324, 1e-300, 0.25])
@pytest.mark.parametrize("star", [1.0, 0.5])
def test_the_bound_of_eg_at_a_subnormal_weight(phi, star):
    run = af.TaskRun(np.zeros((1, 2)), np.zeros((1, 2)))
    best = np.array([[1.0 - star, star]])
    found = af.theory.regret_upper_bound(run, best, np.array([1.0, phi]), af.EG(1.0))
    exact = sum(s * (log(s) - log(p)) for s, p in zip(best[0], (1.0, phi), strict=True) if s)
    np.testing.assert_allclose(found, [exact], rtol=1e-14, atol=1e-15)


def test_the_bound_of_adagrad_where_a_quotient_overflows():
    run = af.TaskRun(np.zeros((1, 1)), np.full((1, 1), 1e200))
    rule = af.AdaGrad(1e-90, 1e-200)
    found = af.theory.regret_upper_bound(run, np.zeros((1, 1)), np.zeros(1), rule, n_steps=3)
    far = 1e-90 * sqrt(3 * (log(1e200) - log(1e-200)))
    np.testing.assert_allclose(found, [far**2 * 1e100 / 2 / 1e-90 + 1e-90 * 1e100], rtol=1e-13)


LONG = 2**25 + 3


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, LONG])
@pytest.mark.parametrize("rule", [af.OGD(0.0), af.EG(0.0)], ids=["ogd", "eg"])
def test_float32_sums_of_ones_do_not_stop(rule, batch_size):
    tasks = af.Tasks(np.ones((LONG, 1), F32), np.zeros(LONG, F32), [0, LONG])
    run = af.run_tasks(
        tasks, np.ones(1, F32), rule, loss="absolute", batch_size=batch_size, average=True
    )
    n_steps = LONG if batch_size == 1 else 1
    assert run.theta_bar == 1.0
    np.testing.assert_allclose(run.grad_sq, n_steps, rtol=1e-7)
    np.testing.assert_allclose(run.loss, n_steps, rtol=1e-7)


@pytest.mark.parametrize("loss", ["squared", "softmax"])
@pytest.mark.parametrize("d", [3, 20, 600])
@pytest.mark.parametrize("batch_size", [1, 700, 10**9])
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.usefixtures("on_device")
def test_long_sums_are_right_and_the_same_everywhere(loss, d, batch_size, average, rng):
    """Tasks on both sides of what is summed together: on a device the same bits."""
    if loss == "softmax" and d > 20:
        return
    sizes = (256, 257, 512, 1100)
    x = rng.random((sum(sizes), d)).astype(F32) / d
    y = rng.integers(0, 2, len(x)).astype(F32)
    tasks = af.Tasks(x, y, np.cumsum((0, *sizes)))
    phi = np.full(2 * d if loss == "softmax" else d, 0.1, F32)
    options = {"loss": loss, "batch_size": batch_size, "n_epochs": 2, "average": average}
    run = af.run_tasks(tasks, phi, af.OGD(0.01), **options)
    wide = af.Tasks(x.astype(F64), y, np.cumsum((0, *sizes)))
    exact = af.run_tasks(wide, phi.astype(F64), af.OGD(0.01), **options)
    there = af.run_tasks(tasks.to("cuda"), device.array(phi), af.OGD(0.01), **options)
    for name in ("theta_hat", "grad_sq", "loss") + (("theta_bar",) if average else ()):
        found = getattr(run, name)
        right = getattr(exact, name)
        np.testing.assert_allclose(found, right, 2e-5, 1e-5 * np.abs(right).max(), err_msg=name)
        np.testing.assert_array_equal(device.host(getattr(there, name)), found, err_msg=name)


@pytest.fixture(params=["cpu", "device"])
def on_some_device(request):
    """Puts arrays and tasks in host memory, or on the device."""
    if request.param == "cpu":
        return lambda value: value
    request.getfixturevalue("on_device")
    return lambda value: value.to("cuda") if isinstance(value, af.Tasks) else device.array(value)
