"""Plans whose arrays move, whose arguments are wrong, that are shared: nothing wrong is written."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from buffers import Lent

import aruba_fast as af

F32 = np.float32


def test_what_is_put_into_a_list_later_is_not_seen():
    theta, grad, rates, sums = ([np.full(3, v)] for v in (0.0, 1.0, 0.5, 0.0))
    first = theta[0]
    plan = af.StepPlan(af.step, theta, grad, rates, grad_sq=sums)
    for values in (theta, grad, rates, sums):
        values[0] = np.full(3, np.nan)
        values.append(None)
    gc.collect()
    plan.step()
    assert (first == -0.5).all()


@pytest.mark.parametrize("which", range(4))
def test_memory_that_a_plan_holds_is_not_resized(which):
    given = [np.ones(50) for _ in range(4)]
    plan = af.StepPlan(af.step, *given[:3], grad_sq=given[3])
    with pytest.raises(ValueError, match="resize"):
        given[which].resize(100_000)
    plan.step()
    assert (given[0] == 0).all()


@pytest.mark.parametrize("n", [100_000, 1])
@pytest.mark.parametrize("which", range(4))
def test_memory_that_was_resized_all_the_same_is_read_anew(which, n):
    given = [np.ones(50) for _ in range(4)]
    plan = af.StepPlan(af.step, *given[:3], grad_sq=given[3])
    given[which].resize(n, refcheck=False)
    with pytest.raises(ValueError, match=r"^StepPlan.step: `\w+` must .*have the shape of `theta`"):
        plan.step()
    for array in given:
        array.resize(n, refcheck=False)
        array[...] = 1.0
    plan.step()
    assert (given[0] == 0).all()
    assert given[0].shape == (n,)


CHANGES = {
    "read-only": (lambda a: a.setflags(write=False), "be writable"),
    "masked": (lambda a: a.__setitem__(0, np.ma.masked), "have all of its values"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_array_that_may_no_longer_be_written_to_is_refused(change):
    spoil, message = CHANGES[change]
    theta = [np.ma.ones(3) if change == "masked" else np.ones(3) for _ in range(20)]
    plan = af.StepPlan(af.step, theta, [np.ones(3) for _ in theta], 0.5)
    plan.step()
    spoil(theta[7])
    with pytest.raises(TypeError, match=rf"^StepPlan.step: `theta\[7\]` must {message}"):
        plan.step()
    assert all((t == 0.5).all() for t in theta)


BAD = {
    "shape": (lambda _: np.ones(4, F32), ValueError, "have the shape of `theta"),
    "type": (lambda _: np.ones(3, np.int64), TypeError, "be of a native floating-point type"),
    "wider": (lambda _: np.ones(3), TypeError, "have the type of `theta"),
    "theta": (lambda theta: theta, ValueError, "overlap"),
    "object": (lambda _: "three", TypeError, "be an array"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("n", [1, 30])
def test_bad_gradients_are_refused_and_change_nothing(bad, n):
    spoil, error, message = BAD[bad]
    theta, grad, sums = ([np.full(3, v, F32) for _ in range(n)] for v in (0, 1, 0))
    plan = af.StepPlan(af.step, theta, grad, 0.5, grad_sq=sums)
    spoiled = [*grad[:-1], spoil(theta[-1])]
    with pytest.raises(error, match=rf"^StepPlan.step: .*{message}"):
        plan.step(spoiled)
    with pytest.raises(ValueError, match=r"^StepPlan.step: `grad` must have as many arrays"):
        plan.step([*grad, grad[0]])
    assert all((t == 0).all() for t in theta)
    with pytest.raises(error, match=rf"^StepPlan: .*{message}"):
        af.StepPlan(af.step, theta, spoiled, 0.5, grad_sq=sums)
    plan.step()
    plan.step([np.ones(3, F32) for _ in range(n)])
    assert all((t == -1).all() for t in theta)
    assert all((s == 2).all() for s in sums)


REFUSED = {
    "a function of the user": (lambda f: af.StepPlan(print, *f), "`function` must be a step of"),
    "no function": (lambda f: af.StepPlan([], *f), "`function` must be a step of"),
    "an argument too many": (
        lambda f: af.StepPlan(af.step, *f, 0.5, decay=1),
        "arguments must be those of `step`: got others",
    ),
    "an argument too few": (
        lambda f: af.StepPlan(af.adam_step, *f),
        "arguments must be those of `adam_step`: got others",
    ),
    "None": (lambda _: af.StepPlan(af.step, None, None, 0.5), "`theta` must be an array"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plan_is_refused_in_a_sentence(case):
    make, message = REFUSED[case]
    with pytest.raises(TypeError, match=f"^StepPlan: {message}") as caught:
        make(([np.ones(3)], [np.ones(3)]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changed", [{"learning_rate": [np.ones(3)]}, {"rate": 1.0}, {"theta": 1.0}]
)
@pytest.mark.parametrize("rate", [0.5, [np.full(3, 0.5)]])
def test_what_is_no_number_of_the_plan_is_refused(changed, rate):
    theta = [np.zeros(3)]
    plan = af.StepPlan(af.step, theta, [np.ones(3)], rate)
    with pytest.raises(TypeError, match=r"^StepPlan.step: `\w+` must be a number"):
        plan.step(**changed)
    with pytest.raises(TypeError if rate != 0.5 else ValueError, match=r"^StepPlan.step: `learn"):
        plan.step(learning_rate=-1.0)
    assert (theta[0] == 0).all()
    plan.step()
    assert (theta[0] == -0.5).all()


def test_a_number_beyond_the_type_is_refused_at_the_step():
    theta = [np.zeros(3, F32)]
    plan = af.StepPlan(af.step, theta, [np.ones(3, F32)], 0.5)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^StepPlan.step: `learning_rate` must be within"):
            plan.step(learning_rate=1e300)
    plan.step()
    assert (theta[0] == -0.5).all()


def test_a_step_within_a_step_is_refused():
    theta = [np.zeros(3)]

    class Nested(Lent):
        def __dlpack__(self, **keywords):
            with pytest.raises(RuntimeError, match=r"^StepPlan.step: a plan must do one step"):
                plan.step()
            return super().__dlpack__(**keywords)

    plan = af.StepPlan(af.step, theta, [np.ones(3)], 0.5)
    plan.step([Nested(np.ones(3))])
    plan.step()
    assert (theta[0] == -1.0).all()


def test_threads_that_share_a_plan_take_turns_or_are_told():
    theta = [np.zeros(200_000)]
    plan = af.StepPlan(af.step, theta, [np.ones(200_000)], 1.0)
    done = []

    def work():
        for _ in range(50):
            try:
                plan.step()
            except RuntimeError:
                continue
            done.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (theta[0] == -len(done)).all()
    assert done


def test_a_plan_holds_its_arrays_and_lets_go_of_them():
    class Own(np.ndarray):
        pass

    theta = np.zeros(3).view(Own)
    gone = weakref.ref(theta)
    plan = af.StepPlan(af.step, [theta], [np.ones(3)], 0.5)
    theta.plan = plan  # a cycle
    del theta
    gc.collect()
    assert gone() is not None
    plan.step()
    del plan
    gc.collect()
    assert gone() is None


def test_gradients_of_a_step_are_not_held_after_it():
    class Own(np.ndarray):
        pass

    plan = af.StepPlan(af.step, [np.zeros(3)], None, 0.5)
    for _ in range(2):
        grad = np.ones(3).view(Own)
        gone = weakref.ref(grad)
        plan.step([grad])
        del grad
        assert gone() is None
