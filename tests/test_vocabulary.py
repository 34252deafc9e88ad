"""One thing has one name over NumPy, PyTorch and JAX: the table of docs/design.md."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cases import smoothed
from documentation import ROOT
from jax_models import aj
from torch_models import torch

import aruba_fast as af
from aruba_fast.torch import MetaOptimizer

PHI, GRAD = np.zeros(3, np.float32), np.array([1.0, 2.0, 4.0], np.float32)
RATE = 0.25


def in_numpy():
    learner = smoothed(PHI, learning_rate=RATE)
    run = af.TaskRun((PHI - RATE * GRAD)[None], (GRAD * GRAD)[None])
    learner.apply(learner.statistics(run), meta_step=0.5)
    return {"learner": learner, "run": run, "af": af}


def in_torch():
    weight = torch.nn.Parameter(torch.tensor(PHI))
    meta = MetaOptimizer([weight], learning_rate=RATE, zeta=1.0)

    def task():
        with meta.task() as optimizer:
            weight.grad = torch.tensor(GRAD)
            optimizer.step()

    task()
    meta.step(meta_step=0.5)
    task()
    return {"meta": meta, "af": af}


def in_jax():
    state = aj.init(PHI, learning_rate=RATE, zeta=1.0)
    theta_hat, grad_sq = PHI - RATE * GRAD, GRAD * GRAD
    state = aj.apply(state, aj.statistics(PHI, theta_hat, grad_sq), meta_step=0.5)
    return {"state": state, "theta_hat": theta_hat, "grad_sq": grad_sq, "aj": aj}


def table():
    """Meaning and code of every row; the three columns are NumPy, PyTorch and JAX."""
    page = ROOT / "docs" / "design.md"
    if not page.exists():
        pytest.skip("tests are run without the source tree around them", allow_module_level=True)
    section = page.read_text().split("## Vocabulary\n")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {
        row[0].strip("| "): [re.search("`([^`]+)`", cell)[1] for cell in row[1:]]
        for row in rows[1:]
    }


ROWS = table()
SPACES = [in_numpy, in_torch, in_jax]


def name(code):
    """The last name of an expression, and whether it is called."""
    return re.search(r"(\w+)(\(.*\))?$", code).group(1), code.endswith(")")


@pytest.mark.parametrize("meaning", ROWS)
def test_a_row_has_one_name(meaning):
    """It is a property everywhere or called everywhere."""
    assert len({name(code) for code in ROWS[meaning]}) == 1


@pytest.mark.parametrize("meaning", ROWS)
def test_a_row_means_the_same(meaning):
    """Numbers are NumPy's, also after a task has been learned from."""
    found = [eval(code, make()) for code, make in zip(ROWS[meaning], SPACES, strict=True)]
    if isinstance(found[1], list):
        (found[1],) = found[1]
    expected = np.asarray(found[0])
    if expected.dtype == object:
        assert [type(one).__name__ for one in found] == {
            "the rule as learned so far": [
                "ArubaPlusPlus",
                "TaskOptimizer",
                "GradientTransformation",
            ],
            "what tasks leave behind, summed": ["TaskStatistics"] * 3,
            "their type": ["type"] * 3,
        }[meaning]
        return
    for other in found[1:]:
        np.testing.assert_allclose(np.asarray(other), expected, rtol=1e-6)


def test_the_table_is_whole():
    assert len(ROWS) == 10
    names = {name(code)[0] for row in ROWS.values() for code in row}
    assert {"phi", "learning_rate", "rho", "rule", "statistics", "TaskStatistics"} <= names


OLD = {
    "learning_rates": (in_torch, "meta.learning_rates()", "meta.learning_rate"),
    "rho": (in_torch, "meta.rho()", "meta.rho"),
    "Statistics": (in_jax, "aj.Statistics", "aj.TaskStatistics"),
    "within_task": (in_jax, "aj.within_task", "aj.ogd"),
    "WithinTaskState": (in_jax, "aj.WithinTaskState", "aj.OGDState"),
}


@pytest.mark.parametrize("old", OLD)
def test_an_old_name_warns_and_is_the_same(old):
    make, before, now = OLD[old]
    space = make()
    with pytest.warns(DeprecationWarning, match=rf"\b{old}\b.* is .*{name(now)[0]} now"):
        found = eval(before, space)
    assert repr(found) == repr(eval(now, space))


def test_the_old_optimizer_is_the_rule():
    meta = in_torch()["meta"]
    with pytest.warns(DeprecationWarning, match=r"MetaOptimizer\.optimizer is MetaOptimizer\.rule"):
        optimizer = meta.optimizer(coef=0.5)
    assert type(optimizer) is type(meta.rule(coef=0.5))
    assert optimizer._coef == 0.5


def test_no_old_name_is_listed():
    assert not {"Statistics", "within_task", "WithinTaskState"} & set(aj.__all__)
    with pytest.raises(AttributeError, match=r"'aruba_fast\.jax' has no attribute 'nothing'"):
        _ = aj.nothing
