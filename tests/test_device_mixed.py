"""Learners, tasks, rules and runs that live on different devices: one clear sentence each."""

from __future__ import annotations

import device
import numpy as np
import pytest
from foreign import Capsule, Interface

import aruba_fast as af

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
F32 = np.float32


def ones(*shape, dtype=F32):
    return np.ones(shape, dtype)


def there(*shape, dtype=F32):
    return device.array(np.ones(shape, dtype))


class Case:
    """One of everything on the host, and on the device."""

    def __init__(self):
        self.learner = af.MetaLearner(ones(2))
        self.tasks = af.Tasks(ones(4, 2), ones(4), [0, 1, 4])
        self.run = af.TaskRun(ones(2, 2), ones(2, 2))
        self.part = self.learner.statistics(self.run)
        self.learner_there = self.learner.to("cuda")
        self.tasks_there = self.tasks.to("cuda")
        self.run_there = af.TaskRun(there(2, 2), there(2, 2))
        self.part_there = self.learner_there.statistics(self.run_there)


ROWS = {
    "Tasks y": ("Tasks: `y` .* `x`", lambda _: af.Tasks(there(4, 2), ones(4), [0, 4])),
    "Tasks x": ("Tasks: `y` .* `x`", lambda _: af.Tasks(ones(4, 2), there(4), [0, 4])),
    "TaskRun grad_sq": ("TaskRun: `grad_sq`", lambda _: af.TaskRun(there(2, 2), ones(2, 2))),
    "TaskRun loss": (
        "TaskRun: `loss`",
        lambda _: af.TaskRun(ones(2, 2), ones(2, 2), loss=there(2, dtype=np.float64)),
    ),
    "statistics run": ("`run` .* `phi`", lambda c: c.learner.statistics(c.run_there)),
    "statistics run there": ("`run` .* `phi`", lambda c: c.learner_there.statistics(c.run)),
    "statistics weights": (
        "`weights` .* `phi`",
        lambda c: c.learner.statistics(c.run, there(2, dtype=np.float64)),
    ),
    "apply": ("`statistics` .* `phi`", lambda c: c.learner.apply(c.part_there)),
    "apply there": ("`statistics` .* `phi`", lambda c: c.learner_there.apply(c.part)),
    "sum": ("`other` .* `self`", lambda c: c.part + c.part_there),
    "run_tasks phi": (
        "run_tasks: `phi` .* `tasks`",
        lambda c: af.run_tasks(c.tasks_there, ones(2), af.OGD(0.1), loss="squared"),
    ),
    "run_tasks tasks": (
        "run_tasks: `phi` .* `tasks`",
        lambda c: af.run_tasks(c.tasks, there(2), af.OGD(0.1), loss="squared"),
    ),
    "run_tasks rule": (
        "run_tasks: `rule` .* `tasks`",
        lambda c: af.run_tasks(c.tasks_there, there(2), af.OGD(ones(2)), loss="squared"),
    ),
    "run_tasks aruba++": (
        "run_tasks: `rule` .* `tasks`",
        lambda c: af.run_tasks(
            c.tasks, ones(2), af.ArubaPlusPlus(there(2), there(2), 1.0), loss="squared"
        ),
    ),
    "aruba++": ("ArubaPlusPlus: `g` .* `b`", lambda _: af.ArubaPlusPlus(there(2), ones(2), 1.0)),
    "evaluate": (
        "evaluate: `theta` .* `tasks`",
        lambda c: af.evaluate(c.tasks, there(2), loss="squared"),
    ),
    "meta_train": (
        "meta_train: `learner` .* `tasks`",
        lambda c: af.meta_train(c.tasks, c.learner_there, loss="squared"),
    ),
    "meta_train there": (
        "meta_train: `learner` .* `tasks`",
        lambda c: af.meta_train(c.tasks_there, c.learner, loss="squared"),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_everything_lives_on_one_device(row):
    case = Case()
    before = case.learner.phi.tobytes(), device.host(case.learner_there.phi).tobytes()
    message, attempt = ROWS[row]
    with pytest.raises(TypeError, match=rf"{message}.*: got (cpu|cuda:0), expected (cpu|cuda:0)"):
        attempt(case)
    assert before == (case.learner.phi.tobytes(), device.host(case.learner_there.phi).tobytes())


@pytest.mark.parametrize("name", ["cuda:x", "gpu", "", "cuda:", 0, None, "cpu:0"])
def test_unknown_devices(name):
    case = Case()
    for subject in (case.learner, case.tasks, case.part):
        kind = type(subject).__name__
        with pytest.raises(ValueError, match=f"^{kind}.to: `device` must be known: got {name!r}"):
            subject.to(name)


def test_a_device_that_is_not_there():
    with pytest.raises(
        af.CudaError, match=r"MetaLearner.to: `device`.*'cuda:99', expected at most 'cuda:\d'"
    ):
        Case().learner.to("cuda:99")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_values_are_checked_once_where_they_are_given(value):
    """phi, and the rates of a rule, are read back when they come: later nothing waits."""
    spoiled = device.array(np.array([1.0, value], F32))
    if not np.isfinite(value):
        with pytest.raises(ValueError, match=r"MetaLearner: `phi` must be finite .* at 1"):
            af.MetaLearner(spoiled)
    with pytest.raises(ValueError, match=r"OGD: `learning_rate` must be finite .* at 1"):
        af.OGD(spoiled)
    with pytest.raises(ValueError, match=r"ArubaPlusPlus: `g` must be finite and > 0 .* at 1"):
        af.ArubaPlusPlus(there(2), spoiled, 1.0)


@pytest.mark.parametrize("form", [Interface, Capsule])
def test_arrays_of_other_libraries_become_cupys_and_share_memory(form):
    x = there(4, 2)
    tasks = af.Tasks(form(x), form(there(4)), [0, 1, 4])
    assert tasks.device == "cuda:0"
    assert tasks.x.data.ptr == x.data.ptr
