"""Rates in bfloat16 on a CUDA device: the bits of host memory, in one launch."""

from __future__ import annotations

import device
import ml_dtypes
import numpy as np
import pytest
from buffers import Guarded
from cases import SIZES
from test_device_step import OnDevice
from test_narrow_rates import BF16, F32, RATES, RULES, call, drawn, grads, rules, widened

import aruba_fast as af

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
SHAPES = [(17,), (0,), (3, 5), (1,), (2, 2, 9), (4097,), (128,)]


def compare(rule, given, offset=0):
    """On the device: every byte is that of the host, which was given the same rates in float32."""
    hosts = {name: Guarded(array, offset) for name, array in given.items()}
    there = {name: OnDevice(guarded) for name, guarded in hosts.items()}
    call(rule, {name: one.view for name, one in there.items()})
    rates = RATES[RULES[rule].function]
    views = {name: guarded.view for name, guarded in hosts.items()}
    call(rule, views | {rates: given[rates].astype(F32)})
    for name, one in there.items():
        one.check(name)


@rules
@grads
@pytest.mark.parametrize("size", SIZES[:-1])
def test_every_size_and_offset(rule, grad, size, rng):
    for offset in range(4):
        compare(rule, drawn(rule, rng, (size,), grad), offset)


@rules
@grads
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (5, 3), (7, 129), (33, 31), (0, 4)])
def test_tasks_that_share_their_rates(rule, grad, shape, rng):
    for offset in (0, 1):
        compare(rule, drawn(rule, rng, shape, grad, shared=True), offset)


def test_every_number_is_widened_exactly():
    """From zero at the gradient -1 a step goes as far as its rate, nan and infinity too."""
    rates = np.arange(2**16, dtype=np.uint16).view(BF16)
    theta = device.array(np.zeros(2**16, F32))
    af.step(theta, device.array(np.full(2**16, -1, F32)), device.array(rates))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(device.host(theta), rates.astype(F32))


@rules
@pytest.mark.parametrize("both", [False, True], ids=["bfloat16", "both types"])
def test_a_list_is_one_launch_for_each_type_of_rates(rule, both, rng):
    name = RATES[RULES[rule].function]
    hosts = [drawn(rule, rng, shape) for shape in SHAPES * 4]
    for given in hosts[::2] if both else ():
        given[name] = given[name].astype(F32)
    expected = [widened(rule, given) for given in hosts]
    there = {key: [device.array(given[key]) for given in hosts] for key in hosts[0]}
    plan = af.StepPlan(getattr(af, RULES[rule].function), **(RULES[rule].numbers | there))
    for step in (lambda: call(rule, there), plan.step):
        if device.machine:
            device.machine.reset()
        step()
        if device.machine:
            assert device.machine.counts()["launches"] == 1 + both
        for i, given in enumerate(expected):
            call(rule, given)
            for key in ("theta", RULES[rule].written[-1]):
                np.testing.assert_array_equal(device.host(there[key][i]), given[key])


@rules
@grads
def test_words_of_rates(rule, grad, rng):
    """uint16 rates beside `grad_type`, for whoever has no bfloat16 in CuPy."""
    name = RATES[RULES[rule].function]
    given = drawn(rule, rng, (103,), grad)
    expected = widened(rule, given)
    call(rule, expected)
    words = given | {name: given[name].view(np.uint16)}
    there = {key: device.array(array) for key, array in words.items()}
    call(rule, there, grad_type="bfloat16")
    np.testing.assert_array_equal(device.host(there["theta"]), expected["theta"])


@rules
@pytest.mark.parametrize(
    ("theta", "kind", "got"),
    [
        (np.float64, ml_dtypes.bfloat16, "got bfloat16, expected float64"),
        (F32, np.float16, "got float16, expected float32 or bfloat16"),
    ],
    ids=["float64 parameters", "float16"],
)
def test_other_types_are_refused(rule, theta, kind, got, rng):
    name = RATES[RULES[rule].function]
    given = {key: array.astype(theta) for key, array in drawn(rule, rng, (9,)).items()}
    given[name] = given[name].astype(kind)
    there = {key: device.array(array) for key, array in given.items()}
    with pytest.raises(TypeError, match=rf"`{name}` must have the type of `theta`: {got}$"):
        call(rule, there)
    np.testing.assert_array_equal(device.host(there["theta"]), given["theta"])


# ---- of PyTorch ----------------------------------------------------------------------------------


def rounds(coef):
    """Where two rounds, and the steps of a rule, lead: parameters, rates and sums."""
    from test_torch_narrow_rates import learned, stepped
    from torch_models import torch

    meta, parameters = learned(rate_type="bfloat16")
    with meta.task() as optimizer:
        stepped(optimizer, parameters)
    told = [p.detach().clone() for p in parameters]
    meta.step(0.5)
    stepped(meta.rule(coef=coef), parameters)
    told += [*(p.detach() for p in parameters), *meta.learning_rate]
    return torch.cat([each.ravel() for each in told]).numpy()


@pytest.mark.parametrize("coef", [None, 0.75])
def test_rounds_of_a_model_have_the_bits_of_host_memory(coef):
    from played_torch import played

    expected = rounds(coef)
    with played():
        found = rounds(coef)
    assert found.tobytes() == expected.tobytes()


def test_an_operator_of_a_model_reads_them():
    from played_torch import played
    from test_torch_narrow_rates import drawn as tensors
    from test_torch_narrow_rates import wide

    from aruba_fast.torch import ops

    given = tensors((3, 17))
    expected = ops.step(*wide(given))
    with played():
        found = [each.clone() for each in ops.step(*given)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
