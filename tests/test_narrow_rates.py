"""Rates in bfloat16: a step has the bits of the one whose rates NumPy has widened to float32.

Run as a script it holds the two against each other, and prints a hash of the results.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from buffers import Guarded
from cases import KERNELS, SIZES, kernel_arguments

import aruba_fast as af

F32, BF16 = np.float32, np.dtype(ml_dtypes.bfloat16)
GRADS = {"float32": F32, "bfloat16": BF16, "float16": np.float16}
# The array that a rule takes for its rates.
RATES = {"step": "learning_rate", "aruba_step": "b", "adam_step": "learning_rate"}
RULES = {kernel.name: kernel for kernel in KERNELS if kernel.function in RATES}
rules = pytest.mark.parametrize("rule", RULES)
grads = pytest.mark.parametrize("grad", GRADS)


def drawn(rule, rng, shape, grad="float32", *, shared=False):
    """Arguments by name: rates in bfloat16, one row for all where they are shared."""
    kernel = RULES[rule]
    rates = RATES[kernel.function]
    given = {k: v.astype(F32) for k, v in kernel_arguments(kernel, rng, shape).items()}
    row = shape[-1:] if shared else shape
    given[rates] = (0.1 + rng.standard_normal(row) ** 2).astype(BF16)
    given["grad"] = given["grad"].astype(GRADS[grad])
    return given


def widened(rule, given):
    """The same arrays, none of them shared, and what NumPy makes of the rates."""
    rates = RATES[RULES[rule].function]
    wide = {name: array.copy() for name, array in given.items()}
    return wide | {rates: given[rates].astype(F32)}


def call(rule, given, **more):
    kernel = RULES[rule]
    getattr(af, kernel.function)(**(kernel.numbers | given | more))


def assert_same_bits(got, expected):
    for name, array in expected.items():
        if name in ("theta", "grad_sq", "g", "mean_sq"):
            assert got[name].tobytes() == array.tobytes(), name


def compare(rule, given, offset=0):
    """Guarded copies are stepped: bits, neighbours, and what is only read."""
    expected = widened(rule, given)
    call(rule, expected)
    guarded = {name: Guarded(array, offset) for name, array in given.items()}
    call(rule, {name: g.view for name, g in guarded.items()})
    views = {name: g.view for name, g in guarded.items()}
    assert_same_bits(views, expected)
    for name, g in guarded.items():
        assert g.intact(), f"{name}: a neighbour was written"
        if name in ("grad", RATES[RULES[rule].function]):
            assert g.view.tobytes() == given[name].tobytes(), f"{name} was written"
    if given["theta"].size:
        assert (views["theta"] != given["theta"]).any()


@rules
@grads
@pytest.mark.parametrize("size", SIZES)
def test_every_size_and_offset(rule, grad, size, rng):
    for offset in range(4):
        compare(rule, drawn(rule, rng, (size,), grad), offset)


@rules
@grads
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (5, 3), (7, 129), (33, 31), (0, 4), (211, 601)])
@pytest.mark.parametrize("shared", [False, True], ids=["own_rates", "shared_rates"])
def test_every_task_of_a_matrix(rule, grad, shape, shared, rng, threads):
    """The largest is split in the middle of its rows."""
    threads(2)
    for offset in (0, 1):
        compare(rule, drawn(rule, rng, shape, grad, shared=shared), offset)


def test_every_number_is_widened_exactly():
    """From zero at the gradient -1 a step goes as far as its rate, nan and infinity too."""
    rates = np.arange(2**16, dtype=np.uint16).view(BF16)
    theta = np.zeros(2**16, F32)
    with np.errstate(all="ignore"):
        af.step(theta, np.full(2**16, -1, F32), rates)
        np.testing.assert_array_equal(theta, rates.astype(F32))


@rules
def test_a_list_may_hold_rates_of_both_types(rule, rng):
    rates = RATES[RULES[rule].function]
    shapes = [(17,), (0,), (3, 5), (1,), (2, 2, 9), (4097,), (128,)] * 3
    one_by_one = [drawn(rule, rng, shape) for shape in shapes]
    for given in one_by_one[::2]:
        given[rates] = given[rates].astype(F32)
    lists = {name: [given[name].copy() for given in one_by_one] for name in one_by_one[0]}
    call(rule, lists)
    for i, given in enumerate(one_by_one):
        expected = widened(rule, given)
        call(rule, expected)
        assert_same_bits({name: arrays[i] for name, arrays in lists.items()}, expected)


@rules
@grads
@pytest.mark.parametrize("at_step", [False, True], ids=["own gradients", "gradients of a step"])
def test_planned_steps(rule, grad, at_step, rng):
    """New values of the rates are seen, and so is a list with memory of both types."""
    kernel, name = RULES[rule], RATES[RULES[rule].function]
    many = [drawn(rule, rng, shape, grad) for shape in ((40, 3), (5,), (70_000,), (1,))]
    many[1][name] = many[1][name].astype(F32)
    lists = {key: [given[key] for given in many] for key in many[0]}
    expected = [widened(rule, given) for given in many]
    own = lists | {"grad": None} if at_step else lists
    plan = af.StepPlan(getattr(af, kernel.function), **(kernel.numbers | own))
    for _ in range(2):
        for given, wide in zip(many, expected, strict=True):
            given[name][...] = (given[name].astype(F32) * F32(0.75)).astype(given[name].dtype)
            wide[name] = given[name].astype(F32)
            call(rule, wide)
        plan.step(lists["grad"] if at_step else None)
        for given, wide in zip(many, expected, strict=True):
            assert_same_bits(given, wide)


@rules
def test_strided_and_read_only_rates(rule, rng):
    name = RATES[RULES[rule].function]
    given = drawn(rule, rng, (33,))
    wide = np.repeat(given[name], 2)[::2]
    wide.flags.writeable = False
    expected = widened(rule, given)
    call(rule, expected)
    call(rule, given | {name: wide})
    assert_same_bits(given, expected)


@rules
@grads
def test_words_of_rates(rule, grad, rng):
    """uint16 rates beside `grad_type`, for whoever has no bfloat16 in NumPy."""
    name = RATES[RULES[rule].function]
    given = drawn(rule, rng, (103,), grad)
    expected = widened(rule, given)
    call(rule, expected)
    call(rule, given | {name: given[name].view(np.uint16)}, grad_type="bfloat16")
    assert_same_bits(given, expected)


def test_a_move_is_off_by_what_the_documentation_says(rng):
    """At most by 2^-8 of itself, and no smaller power of two would do."""
    rates = np.exp(rng.uniform(-60, 60, 100_000)).astype(F32)
    grad = rng.standard_normal(100_000).astype(F32)
    exact, rounded = np.zeros((2, 100_000), F32)
    af.step(exact, grad, rates)
    af.step(rounded, grad, rates.astype(BF16))
    off = np.abs(rounded.astype(np.float64) / exact - 1).max()
    assert 2**-9 < off <= 2**-8 + 2**-23


REFUSED = {
    "float64 parameters": ({"dtype": np.float64}, BF16, "got bfloat16, expected float64"),
    "float16": ({}, np.float16, "got float16, expected float32 or bfloat16"),
    "float64": ({}, np.float64, "got float64, expected float32 or bfloat16"),
}


@rules
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("planned", [False, True])
def test_other_types_are_refused(rule, case, planned, rng):
    how, kind, got = REFUSED[case]
    kernel, name = RULES[rule], RATES[RULES[rule].function]
    given = {k: v.astype(how.get("dtype", F32)) for k, v in drawn(rule, rng, (9,)).items()}
    given[name] = given[name].astype(kind)
    before = {key: array.tobytes() for key, array in given.items()}
    function = "StepPlan" if planned else kernel.function
    sentence = rf"^{function}: `{name}` must have the type of `theta`: {got}$"
    step = getattr(af, kernel.function)
    with pytest.raises(TypeError, match=sentence):
        (partial(af.StepPlan, step) if planned else step)(**(kernel.numbers | given))
    assert before == {key: array.tobytes() for key, array in given.items()}


def test_rates_that_overlap_what_is_modified_are_refused():
    memory = np.ones(12, F32)
    with pytest.raises(ValueError, match="`theta` is modified and must not overlap"):
        af.step(memory[:6], np.ones(6, F32), memory.view(BF16)[11:17])
    af.step(memory[:6], np.ones(6, F32), memory.view(BF16)[12:18])


@pytest.mark.slow
@pytest.mark.parametrize("isa", af.info()["isas"])
def test_every_instruction_set(isa):
    found = []
    for chosen in (isa, "baseline"):
        done = subprocess.run(
            [sys.executable, Path(__file__)],
            env=os.environ | {"ARUBA_ISA": chosen},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
        assert found[-1].pop("isa") == chosen
    assert found[0] == found[1]


def main():
    rng, found = np.random.default_rng(5), hashlib.sha256()
    for rule in RULES:
        for grad in GRADS:
            for shape in [(n,) for n in (1, 5, 8, 16, 19, 64, 129, 513)] + [(7, 129)]:
                given = drawn(rule, rng, shape, grad, shared=len(shape) == 2)
                compare(rule, given, 1)
                call(rule, given)
                found.update(given["theta"].tobytes())
    test_every_number_is_widened_exactly()
    print(json.dumps({"isa": af.info()["isa"], "hash": found.hexdigest()}))


if __name__ == "__main__":
    main()
