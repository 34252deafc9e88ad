"""What a refused call says: the function that was called, what is wrong, what to write instead."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from test_errors_tasks import F32, F64, NAN, PHI, TASKS, X, Y, labelled, learner, run, train

import aruba_fast as af
from aruba_fast.rules import Rule

RUN = af.TaskRun(np.ones((2, 3), F32), np.ones((2, 3), F32))
REMEDIES = [
    ("x of integers", lambda: af.Tasks(X.astype(int), Y, [0, 6]),
     "Tasks: `x` must be float32 or float64: got int64, expected x.astype(np.float32)"),
    ("x of a list", lambda: af.Tasks([[1, 2]], [1], [0, 1]),
     "Tasks: `x` must be float32 or float64: got int64, expected np.asarray(x, np.float32)"),
    ("x of the other byte order", lambda: af.Tasks(X.astype(">f8"), Y, [0, 6]),
     "Tasks: `x` must be float32 or float64 in native byte order: got >f8, "
     "expected x.astype(np.float64)"),
    ("x of text", lambda: af.Tasks(X.astype(str), Y, [0, 6]),
     "Tasks: `x` must be float32 or float64: got <U32"),
    ("phi of integers", lambda: run(phi=np.zeros(3, int)),
     "run_tasks: `phi` must be float32 or float64: got int64, expected phi.astype(np.float32)"),
    ("phi of another type", lambda: run(phi=PHI.astype(F64)),
     "run_tasks: `phi` must have the type of `tasks`: got float64, expected float32, "
     "as phi.astype(np.float32)"),
    ("learner of another type", lambda: train(one=af.MetaLearner(np.zeros(3))),
     "meta_train: `learner` must have the type of `tasks`: got float64, expected float32, "
     "made of phi.astype(np.float32)"),
    ("a size as phi", lambda: af.MetaLearner(3),
     "MetaLearner: `phi` must be an array: got 3, an int, expected the first initialization, "
     "as np.zeros(3, np.float32)"),
    ("a matrix as phi", lambda: af.MetaLearner(X),
     "MetaLearner: `phi` must have 1 dimension: got shape (6, 3), expected [n_parameters], "
     "as phi.ravel()"),
    ("one task as a run", lambda: af.TaskRun(PHI, PHI),
     "TaskRun: `theta_hat` must have 2 dimensions: got shape (3,), "
     "expected [n_tasks, n_parameters], as theta_hat[None] of one task"),
    ("a run as theta", lambda: af.evaluate(TASKS, RUN, loss="squared"),
     "evaluate: `theta` must be an array: got a TaskRun, expected run.theta_hat"),
    ("a learner as phi", lambda: run(phi=learner()),
     "run_tasks: `phi` must be an array: got a MetaLearner, expected learner.phi"),
    ("tasks as phi", lambda: af.MetaLearner(TASKS),
     "MetaLearner: `phi` must be an array: got a Tasks"),
    ("a run as weights", lambda: learner().update(RUN, weights=RUN),
     "MetaLearner.update: `weights` must be an array: got a TaskRun, expected run.weight"),
    ("rows as weights", lambda: learner().update(RUN, weights="rows"),
     "MetaLearner.update: `weights` must be an array: got 'rows', a str, "
     "expected run.weight for the numbers of rows"),
    ("too few weights", lambda: learner().statistics(RUN, [1.0]),
     "MetaLearner.statistics: `weights` must have a value for each task: got (1,), expected (2,)"),
    ("a learner as rates", lambda: af.OGD(learner()),
     "OGD: `learning_rate` must be an array: got a MetaLearner, expected learner.learning_rate"),
    ("an array as tasks", lambda: run(X),
     "run_tasks: `tasks` must be Tasks: got an ndarray of shape (6, 3), "
     "expected af.Tasks(x, y, offsets) or af.Tasks.from_groups(x, y, group)"),
    ("a rate as rule", lambda: run(rule=0.1),
     "run_tasks: `rule` must be a within-task rule: got 0.1, a float, "
     "expected af.OGD(learning_rate)"),
    ("a learner as rule", lambda: run(rule=learner()),
     "run_tasks: `rule` must be a within-task rule: got a MetaLearner, expected learner.rule()"),
    ("a class as rule", lambda: run(rule=af.OGD),
     "run_tasks: `rule` must be a within-task rule: got the class OGD, "
     f"expected {', '.join(kind.__name__ for kind in get_args(Rule))}"),
    ("a row of phi too many", lambda: run(phi=np.zeros((3, 3), F32)),
     "run_tasks: `phi` must have a row for each task: got (3, 3), expected (2, 3)"),
    ("softmax of a wrong size", lambda: run(af.Tasks(X, [0, 1, 2, 3, 4, 0], [0, 6]),
                                            np.zeros(9, F32), loss="softmax"),
     "run_tasks: `y` must hold class numbers from 0 to 2 for the softmax loss: got 3 in row 3, "
     "expected a whole number below 3, the number of parameters over that of features"),
    ("softmax of no multiple", lambda: run(af.Tasks(X, [0, 1, 2, 3, 4, 0], [0, 6]),
                                           np.zeros(3, F32), loss="softmax"),
     "run_tasks: `phi` must have n_classes * n_features parameters for softmax: got 3, "
     "expected 15: 3 features times 5 classes, as the labels go up to 4"),
    ("softmax of useless labels", lambda: run(phi=np.zeros(4, F32), loss="softmax", tasks=af.Tasks(
        X, Y * NAN, [0, 6])),
     "run_tasks: `phi` must have n_classes * n_features parameters for softmax: got 4, "
     "expected at least 2 times 3"),
    ("signs for the logistic loss", lambda: train(labelled([1e-9, -1]), loss="logistic"),
     "meta_train: `y` must hold the labels 0 and 1 of the logistic loss: got 1e-09 in row 0, "
     "expected 0 or 1, as y > 0 makes them of -1 and 1"),
    ("evaluated labels", lambda: af.evaluate(labelled([0, 1]), PHI, loss="hinge"),
     "evaluate: `y` must hold the labels -1 and 1 of the hinge loss: got 0 in row 0, "
     "expected -1 or 1, as 2 * y - 1 makes them of 0 and 1"),
    ("labels in hindsight", lambda: af.theory.best_in_hindsight(labelled([0, 1]), loss="hinge"),
     "best_in_hindsight: `y` must hold the labels -1 and 1 of the hinge loss: got 0 in row 0, "
     "expected -1 or 1, as 2 * y - 1 makes them of 0 and 1"),
    ("an array as weights of meta_train", lambda: train(weights=np.ones(2)),
     "meta_train: `weights` must be None or 'rows': got an ndarray of shape (2,); weights of your "
     "own go with the loop over tasks.rounds, to learner.update(run, weights=...)"),
    ("theta_hat as run", lambda: learner().update(RUN.theta_hat),
     "MetaLearner.update: `run` must be a TaskRun: got an ndarray of shape (2, 3), "
     "expected af.TaskRun(theta_hat, grad_sq)"),
    ("tasks as run", lambda: learner().update(TASKS),
     "MetaLearner.update: `run` must be a TaskRun: got a Tasks, "
     "expected af.run_tasks(tasks, learner.phi, learner.rule(None), loss=...)"),
    ("statistics as run", lambda: learner().update(learner().statistics(RUN)),
     "MetaLearner.update: `run` must be a TaskRun: got a TaskStatistics, "
     "expected learner.apply(statistics)"),
    ("a run as statistics", lambda: learner().apply(RUN),
     "MetaLearner.apply: `statistics` must be TaskStatistics: got a TaskRun, "
     "expected learner.statistics(run)"),
    ("a step that is none", lambda: learner().update(RUN, meta_step=NAN),
     "MetaLearner.update: `meta_step` must be finite: got nan, expected a finite number >= 0"),
    ("shots of small tasks", lambda: TASKS.shots(2),
     "Tasks.shots: `m` must leave every task a row: got 2 with task 0 of 2 rows, "
     "expected m < 2, or the tasks that have more: tasks[tasks.sizes > 2]"),
    ("none", lambda: af.OGD(None),
     "OGD: `learning_rate` must hold real numbers: got None, "
     "expected a bool, integer or float type"),
    ("names as labels", lambda: af.Tasks(X, list("abcdef"), [0, 6]),
     "Tasks: `y` must hold real numbers: got <U1, expected a bool, integer or float type"),
    ("a number of epochs", lambda: run(n_epochs=2.0),
     "run_tasks: `n_epochs` must be an integer: got 2.0, a float, expected an int"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "sentence"), [r[1:] for r in REMEDIES], ids=[r[0] for r in REMEDIES]
)
def test_a_sentence_names_the_function_and_the_remedy(call, sentence):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value) == sentence


class Silent:
    """Whose text nobody can have, as that of some tensors, which ends the process."""

    def __repr__(self):
        raise AssertionError("asked for its text")


SILENT = {
    "loss": lambda odd: run(loss=odd),
    "loss of a fit": lambda odd: af.meta_fit(TASKS, loss=odd),
    "covariance": lambda odd: af.meta_fit(TASKS, loss="squared", covariance=odd),
    "n_classes": lambda odd: af.meta_fit(TASKS, loss="squared", n_classes=odd),
    "form": lambda odd: af.theory.regret_upper_bound(
        run(), np.ones((2, 3)), PHI, af.OGD(0.1), form=odd
    ),
    "kind": lambda odd: af.theory.task_similarity(np.ones((2, 3)), kind=odd),
    "method": lambda odd: af.theory.ScaleLearner(diameter=1.0, eps=0.1, method=odd),
    "device": lambda odd: TASKS.to(odd),
    "device of a learner": lambda odd: af.MetaLearner(PHI).to(odd),
}


@pytest.mark.parametrize("call", SILENT.values(), ids=SILENT)
def test_no_text_is_asked_of_a_value_that_is_none_of_the_known(call):
    with pytest.raises((TypeError, ValueError), match=r"got (a )?Silent"):
        call(Silent())
