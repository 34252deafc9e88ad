"""Plans: what `StepPlan` remembers of its arrays changes no bit, nor outlives their moving."""

from __future__ import annotations

import device
import ml_dtypes
import numpy as np
import pytest
from buffers import Lent
from cases import KERNELS, dtypes, kernels

import aruba_fast as af
from aruba_fast import _core
from aruba_fast._step_plan import STATES

F32, F64 = np.float32, np.float64
SHAPES = [(3,), (0,), (4, 5), (1,), (2, 0), (17, 33), (1000,), (2, 3, 7)]
LISTS = {
    "one array": [(7, 9)],
    "shapes": SHAPES,
    "a long list": SHAPES * 9,
    "over both threads": [(300, 300), (5,), (90_000,)],
    "nothing": [],
}


def arguments(kernel, rng, shapes, dtype, grad_dtype=None):
    """Lists of arrays by name, each in memory of its own."""
    given = {}
    for name in kernel.arguments:
        draw = rng.standard_normal if name in ("theta", "grad") else rng.random
        kind = grad_dtype or dtype if name == "grad" else dtype
        given[name] = [draw(shape).astype(kind) for shape in shapes]
    return given


def copies(given):
    return {name: [array.copy() for array in arrays] for name, arrays in given.items()}


def assert_same(got, expected):
    for name, arrays in expected.items():
        for one, other in zip(got[name], arrays, strict=True):
            assert one.tobytes() == other.tobytes(), name


def plan_of(kernel, given, **more):
    return af.StepPlan(getattr(af, kernel.function), **(given | kernel.numbers | more))


def test_every_step_of_the_library_can_be_planned():
    assert set(STATES) == set(_core.step_rules()) == {kernel.function for kernel in KERNELS}


@kernels
@dtypes
@pytest.mark.parametrize("shapes", LISTS)
def test_planned_steps_are_the_steps_to_the_bit(kernel, dtype, shapes, rng):
    given = arguments(kernel, rng, LISTS[shapes], dtype)
    expected = copies(given)
    plan = plan_of(kernel, given)
    assert_same(given, expected)
    for _ in range(3):
        for mine, other in zip(given["grad"], expected["grad"], strict=True):
            mine[...] = other[...] = rng.standard_normal(mine.shape)
        plan.step()
        kernel.call(expected)
        assert_same(given, expected)


@kernels
@pytest.mark.parametrize("half", [ml_dtypes.bfloat16, np.float16], ids=["bfloat16", "float16"])
def test_gradients_of_half_precision(kernel, half, rng):
    given = arguments(kernel, rng, SHAPES, F32, half)
    expected, words = copies(given), copies(given)
    plans = [
        plan_of(kernel, given),
        plan_of(
            kernel,
            words | {"grad": [grad.view(np.uint16) for grad in words["grad"]]},
            grad_type=half.__name__,
        ),
    ]
    for _ in range(2):
        kernel.call(expected)
        for plan in plans:
            plan.step()
    assert_same(given, expected)
    assert_same(words, expected)


@kernels
@dtypes
def test_lists_of_one_row_of_rates_and_of_single_arrays(kernel, dtype, rng):
    given = arguments(kernel, rng, [(4, 5)], dtype)
    if kernel.shared:
        given[kernel.shared] = [given[kernel.shared][0][0].copy()]
    single = {name: arrays[0].copy() for name, arrays in given.items()}
    expected = copies(given)
    plans = plan_of(kernel, given), plan_of(kernel, single)
    for _ in range(2):
        kernel.call(expected)
        for plan in plans:
            plan.step()
    assert_same(given, expected)
    assert_same({name: [array] for name, array in single.items()}, expected)


NUMBERS = [(k, name) for k in KERNELS for name in {**dict.fromkeys(k.either), **k.numbers}]


@pytest.mark.parametrize(("kernel", "name"), NUMBERS, ids=lambda v: getattr(v, "name", v))
def test_a_number_of_one_step_alone(kernel, name, rng):
    given = arguments(kernel, rng, SHAPES, F32)
    numbers = dict.fromkeys(kernel.either, 0.5) | kernel.numbers
    given = {key: value for key, value in given.items() if key not in numbers}
    expected = copies(given)
    plan = plan_of(kernel, given, **numbers)
    other = 7 if isinstance(numbers[name], int) else 0.3125
    for changed in ({name: other}, {}, {name: other}):
        plan.step(**changed)
        getattr(af, kernel.function)(**expected, **(numbers | changed))
        assert_same(given, expected)


@kernels
def test_gradients_of_one_step_alone(kernel, rng):
    given = arguments(kernel, rng, SHAPES, F32)
    expected = copies(given)
    plan, bare = plan_of(kernel, given), None
    for with_own in (True, False, True, True, False):
        grads = [rng.standard_normal(shape).astype(F32) for shape in SHAPES]
        plan.step(*([grads] if with_own else []))
        kernel.call(expected | ({"grad": grads} if with_own else {}))
        assert_same(given, expected)
    bare = plan_of(kernel, given | {"grad": None})
    for half in (None, ml_dtypes.bfloat16, None):
        grads = [rng.standard_normal(shape).astype(half or F32) for shape in SHAPES]
        bare.step(grads)
        kernel.call(expected | {"grad": grads})
        assert_same(given, expected)


def test_a_plan_made_without_gradients_asks_for_them():
    theta = np.zeros(3)
    plan = af.StepPlan(af.step, theta, None, 0.5)
    with pytest.raises(TypeError, match=r"^StepPlan.step: `grad` must be given where"):
        plan.step()
    plan.step(np.ones(3))
    with pytest.raises(TypeError, match=r"^StepPlan.step: `grad` must be given where"):
        plan.step()
    assert (theta == -0.5).all()


def strided(array):
    out = np.zeros((*array.shape, 2), array.dtype)[..., 0]
    out[...] = array
    return out


@pytest.mark.parametrize("kind", [strided, Lent])
@pytest.mark.parametrize("at_the_call", [True, False])
def test_gradients_that_are_copied_or_lent_are_read_in_every_step(kind, at_the_call, rng):
    grads = [rng.standard_normal(n) for n in (3, 40)]
    theta = [np.zeros(n) for n in (3, 40)]
    expected = [array.copy() for array in theta]
    other = [kind(grad) for grad in grads]
    plan = af.StepPlan(af.step, theta, None if at_the_call else other, 0.5)
    for _ in range(3):
        for grad, of_kind in zip(grads, other, strict=True):
            grad[...] = rng.standard_normal(grad.shape)
            if kind is strided:
                of_kind[...] = grad
        plan.step(*([other] if at_the_call else []))
        af.step(expected, grads, 0.5)
    np.testing.assert_array_equal(np.concatenate(theta), np.concatenate(expected))


@pytest.mark.gpu
@pytest.mark.usefixtures("on_device")
@kernels
@pytest.mark.parametrize("others", [True, False])
def test_arrays_of_a_device(kernel, others, rng):
    given = arguments(kernel, rng, SHAPES, F32)
    expected = copies(given)
    on_device = {name: [device.array(array) for array in arrays] for name, arrays in given.items()}
    plan = plan_of(kernel, on_device | ({"grad": None} if others else {}))
    for _ in range(2):
        plan.step(*([on_device["grad"]] if others else []))
        kernel.call(expected)
    got = {name: [device.host(array) for array in arrays] for name, arrays in on_device.items()}
    assert_same(got, expected)
