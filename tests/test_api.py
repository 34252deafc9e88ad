"""The names of the API: what is there, what a name was before, and what has to be named."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest

import aruba_fast as af

TASKS = af.Tasks(np.ones((2, 3, 2)), np.ones((2, 3)))
RUN, STAR, RULE = (
    af.TaskRun(np.ones((1, 2)), np.ones((1, 2))),
    np.ones((1, 2)),
    af.AdaGrad(0.1, 0.1),
)
SCALE = af.theory.ScaleLearner(diameter=1.0, eps=0.5)
MOVED = """
    FullMatrixLearner FullMatrixRun Hindsight InitializationExperts MetaAverage ScaleLearner
    SimplexLearner TransferRisk best_in_hindsight dynamic_regret dynamic_regret_bound regret
    regret_upper_bound task_similarity transfer_risk
"""


def test_dir_is_the_api_alone():
    assert dir(af) == sorted([*af.__all__, "__version__", "datasets", "federated", "theory"])
    assert dir(af.theory) == sorted(af.theory.__all__)
    for name in dir(af):
        getattr(af, name)


def test_packages_are_there_when_they_are_asked_for():
    code = (
        "import sys, aruba_fast as af; assert not any(m.startswith('aruba_fast.theory') or "
        "m.startswith('aruba_fast.datasets') for m in sys.modules); "
        "af.theory.regret, af.datasets.load_wages"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize("name", MOVED.split())
def test_a_flat_name_of_the_theory_warns_and_is_the_same(name):
    with pytest.warns(
        DeprecationWarning, match=rf"aruba_fast\.{name} is aruba_fast\.theory\.{name}"
    ) as told:
        assert getattr(af, name) is getattr(af.theory, name)
    assert told[0].filename == __file__
    assert name in af.theory.__all__
    assert name not in af.__all__


def test_no_name_is_unknown_without_an_attribute_error():
    with pytest.raises(AttributeError, match="'aruba_fast' has no attribute 'regrets'"):
        _ = af.regrets


def functions():
    """Every function and method of the API, but those of native code, by its dotted name."""
    for name in (*af.__all__, *af.theory.__all__):
        public = getattr(af if name in af.__all__ else af.theory, name)
        if inspect.isfunction(public):
            yield name, public
        elif inspect.isclass(public):
            for member, value in inspect.getmembers(public, inspect.isfunction):
                if not member.startswith("_"):
                    yield f"{name}.{member}", value


TAKING_A_LOSS = {
    name: function
    for name, function in functions()
    if "loss" in inspect.signature(function).parameters
}


def test_who_takes_a_loss():
    assert {"run_tasks", "evaluate", "meta_train", "best_in_hindsight"} <= set(TAKING_A_LOSS)
    assert {"transfer_risk", "SimplexLearner.run", "FullMatrixLearner.run"} <= set(TAKING_A_LOSS)


@pytest.mark.parametrize("name", TAKING_A_LOSS)
def test_a_loss_is_given_by_its_name_alone(name):
    loss = inspect.signature(TAKING_A_LOSS[name]).parameters["loss"]
    assert loss.kind is inspect.Parameter.KEYWORD_ONLY
    assert loss.default is inspect.Parameter.empty


def test_a_positional_loss_is_a_type_error():
    with pytest.raises(TypeError, match=r"best_in_hindsight\(\) takes 1 positional argument"):
        af.theory.best_in_hindsight(TASKS, "squared")


@pytest.mark.parametrize(
    ("call", "old"),
    [
        (lambda **steps: af.theory.ScaleLearner(diameter=1.0, eps=0.5).rule(**steps), "n_rounds"),
        (lambda **steps: SCALE.update([[0.6, 0.8]], [0.0, 0.0], **steps), "n_rounds"),
        (lambda **steps: str(af.theory.ScaleLearner(diameter=1.0, eps=0.5, **steps)), "max_rounds"),
        (
            lambda **steps: af.theory.regret_upper_bound(RUN, STAR, STAR[0], RULE, **steps),
            "n_rounds",
        ),
    ],
    ids=["ScaleLearner.rule", "ScaleLearner.update", "ScaleLearner", "regret_upper_bound"],
)
def test_an_argument_by_its_old_name_warns_and_counts(call, old):
    new = old.replace("rounds", "steps")
    expected = call(**{new: 9})
    with pytest.warns(DeprecationWarning, match=f"`{old}` is `{new}` now") as told:
        found = call(**{old: 9})
    assert told[0].filename == __file__
    assert found == expected
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{old}'"):
        call(**{old: 9, new: 9})
