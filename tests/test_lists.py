"""Lists of arrays that change while a call reads or uses them: what is used is held."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import device
import numpy as np
import pytest

import aruba_fast as af

N = 40


def lists(n=N, size=3):
    return tuple([np.full(size, v, np.float32) for _ in range(n)] for v in (0.0, 1.0, 0.5, 0.0))


class Changing:
    """A gradient whose export changes the lists that the call was given."""

    def __init__(self, change):
        self.change, self.array = change, np.ones(3, np.float32)

    def __dlpack_device__(self):
        self.change()
        return 1, 0

    def __dlpack__(self, **keywords):
        self.change()
        return self.array.__dlpack__(**keywords)


CHANGES = {
    "clear": lambda values: values.clear(),
    "shrink": lambda values: values.__delitem__(slice(5, None)),
    "replace": lambda values: values.__setitem__(slice(None), [None] * len(values)),
    "grow": lambda values: values.extend([np.ones(3, np.float32)] * 1000),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("position", [0, N // 2, N - 1])
@pytest.mark.parametrize("which", range(4))
def test_a_list_that_is_changed_by_one_of_its_arrays(change, position, which):
    """The lists as they were when each was first read: all of theta is moved, or nothing is."""
    values = lists()
    theta = list(values[0])

    def alter():
        CHANGES[change](values[which])
        gc.collect()

    values[1][position] = Changing(alter)
    moved = -0.5
    try:
        af.step(values[0], values[1], values[2], grad_sq=values[3])
    except (TypeError, ValueError) as error:
        moved = 0.0
        assert str(error).startswith("step: `")  # noqa: PT017
    assert all((t == moved).all() for t in theta)


@pytest.mark.parametrize("first", [True, False])
def test_a_list_that_is_changed_when_it_is_asked_for_its_device(first):
    theta, grad = lists()[:2]
    values = theta if first else grad
    before = list(theta)
    values[0] = Changing(values.clear)
    if first:  # the list is read after the question, and is empty by then
        with pytest.raises(ValueError, match="step: `grad` must have as many arrays as `theta`"):
            af.step(theta, grad, 0.5)
    else:
        af.step(theta, grad, 0.5)
    assert all((t == (0 if first else -0.5)).all() for t in before[first:])


def test_a_subclass_that_lies_about_its_length():
    class Lying(list):
        def __len__(self):
            return 10**6

        def __getitem__(self, index):
            raise AssertionError("not asked")

    theta, grad = lists()[:2]
    af.step(Lying(theta), Lying(grad), 0.5)
    assert all((t == -0.5).all() for t in theta)


RACE = """
import sys, threading
import numpy as np, aruba_fast as af
sys.setswitchinterval(1e-5)
done = False

def churn(shared):
    while not done:
        for values in shared:
            values[:] = [np.ones(4096, np.float32) for _ in range(64)]

shared = [[np.ones(4096, np.float32) for _ in range(64)] for _ in range(3)]
thread = threading.Thread(target=churn, args=(shared,))
thread.start()
for _ in range(300):
    af.step(shared[0], shared[1], 0.5, grad_sq=shared[2])
done = True
thread.join()
print("alive")
"""


def test_a_list_that_another_thread_fills_anew():
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_what_was_held_is_let_go():
    for call in ("good", "refused"):
        values = lists()
        if call == "refused":
            values[1][-1] = np.ones(4, np.float32)
        references = [weakref.ref(array) for some in values for array in some]
        counts = [sys.getrefcount(array) for some in values for array in some]
        try:
            af.step(*values[:3], grad_sq=values[3])
        except ValueError:
            assert call == "refused"
        assert counts == [sys.getrefcount(array) for some in values for array in some]
        del values
        gc.collect()
        assert not any(reference() is not None for reference in references)


@pytest.mark.gpu
@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("change", CHANGES)
def test_lists_on_a_device_are_held_too(change):
    from foreign import Capsule

    class ChangingCapsule(Capsule):
        def __dlpack_device__(self):
            CHANGES[change](theta)
            gc.collect()
            return super().__dlpack_device__()

    arrays = [device.array(np.zeros(3, np.float32)) for _ in range(N)]
    theta = list(arrays)
    grad = [device.array(np.ones(3, np.float32)) for _ in range(N)]
    grad[N // 2] = ChangingCapsule(grad[N // 2])
    af.step(theta, grad, 0.5)
    assert all((device.host(array) == -0.5).all() for array in arrays)
