"""Bad input of rules, engine and learner: one row each, with its message."""

from __future__ import annotations

import numpy as np
import pytest
from buffers import snapshot
from cases import smoothed

import aruba_fast as af

F32, F64 = np.float32, np.float64
X, Y = np.ones((6, 3), F32), np.ones(6, F32)
TASKS = af.Tasks(X, Y, [0, 2, 6])
PHI = np.zeros(3, F32)


class OnDevice:
    """An array that lives on a CUDA device, as CuPy and numba show it."""

    @property
    def __cuda_array_interface__(self):
        return {"shape": (6, 3), "typestr": "<f4", "data": (4096, False), "version": 3}


def learner(**hyper):
    return smoothed(PHI, **hyper)


def run(tasks=TASKS, phi=PHI, rule=None, *, loss="squared", **options):
    return af.run_tasks(tasks, phi, af.OGD(0.1) if rule is None else rule, loss=loss, **options)


def train(tasks=TASKS, one=None, *, loss="squared", **options):
    return af.meta_train(tasks, learner() if one is None else one, loss=loss, **options)


def labelled(loss_labels):
    return af.Tasks(np.ones((len(loss_labels), 3), F32), loss_labels, [0, len(loss_labels)])


def results(theta_hat=None, grad_sq=None, **more):
    ones = np.ones((2, 3), F32)
    return af.TaskRun(
        ones if theta_hat is None else theta_hat, ones if grad_sq is None else grad_sq, **more
    )


NAN = float("nan")
V, T = ValueError, TypeError
C = (TypeError, af.CudaError)  # built without CUDA, or with it but without a driver
RULE_ROWS = [
    ("OGD negative", lambda: af.OGD(-0.1), V, "OGD: `learning_rate`.*-0.1"),
    ("OGD nan", lambda: af.OGD(NAN), V, "OGD: `learning_rate`.*nan"),
    ("OGD array nan", lambda: af.OGD([0.1, NAN]), V, "OGD: `learning_rate`.*nan at 1"),
    ("OGD array negative", lambda: af.OGD([0.1, -2]), V, "OGD: `learning_rate`.*-2"),
    ("OGD 2-d", lambda: af.OGD(X), V, "OGD: `learning_rate`"),
    ("OGD text", lambda: af.OGD("fast"), T, "OGD: `learning_rate`.*real number"),
    ("OGD bool", lambda: af.OGD(True), T, "OGD: `learning_rate`.*bool"),
    ("OGD device", lambda: af.OGD(OnDevice()), C, "OGD: .*CUDA"),
    ("AdaGrad rate", lambda: af.AdaGrad(-1.0, 0.1), V, "AdaGrad: `learning_rate`"),
    ("AdaGrad delta 0", lambda: af.AdaGrad(1.0, 0.0), V, "AdaGrad: `delta`"),
    ("AdaGrad delta nan", lambda: af.AdaGrad(1.0, NAN), V, "AdaGrad: `delta`.*nan"),
    ("AdaGrad array", lambda: af.AdaGrad([1.0], 0.1), T, "AdaGrad: `learning_rate`"),
    ("ARUBA++ b", lambda: af.ArubaPlusPlus(-1.0, 1.0, 0.1), V, "ArubaPlusPlus: `b`"),
    ("ARUBA++ g 0", lambda: af.ArubaPlusPlus(1.0, 0.0, 0.1), V, "ArubaPlusPlus: `g`"),
    ("ARUBA++ g array", lambda: af.ArubaPlusPlus(1.0, [1.0, 0.0], 0.1), V, "ArubaPlusPlus: `g`"),
    ("ARUBA++ sizes", lambda: af.ArubaPlusPlus([1.0], [1.0, 2.0], 0.1), V, "ArubaPlusPlus: `g`"),
    ("ARUBA++ coef", lambda: af.ArubaPlusPlus(1.0, 1.0, -0.1), V, "ArubaPlusPlus: `coef`"),
    ("ARUBA++ coef nan", lambda: af.ArubaPlusPlus(1.0, 1.0, NAN), V, "ArubaPlusPlus: `coef`.*nan"),
]

ENGINE_ROWS = [
    ("x on a device", lambda: af.Tasks(OnDevice(), Y, [0, 6]), C, "Tasks: .*CUDA device"),
    ("tasks", lambda: run(X), T, "run_tasks: `tasks`.*ndarray"),
    ("phi type", lambda: run(phi=PHI.astype(F64)), T, "run_tasks: `phi`.*float64.*float32"),
    ("phi int", lambda: run(phi=[0, 0, 0]), T, "run_tasks: `phi`.*int64"),
    ("phi size", lambda: run(phi=np.zeros(4, F32)), V, "run_tasks: `phi`.*got 4, expected 3"),
    ("phi 0-d", lambda: run(phi=F32(0)), V, "run_tasks: `phi`"),
    ("phi rows", lambda: run(phi=np.zeros((3, 3), F32)), V, r"`phi`.*\(3, 3\).*\(2, 3\)"),
    ("phi 3-d", lambda: run(phi=np.zeros((1, 2, 3), F32)), V, "run_tasks: `phi`"),
    ("phi on a device", lambda: run(phi=OnDevice()), C, "run_tasks: .*CUDA"),
    ("phi outside", lambda: run(phi=PHI + 1, radius=1.0), V, "run_tasks: `phi`.*ball.*1.73"),
    ("softmax size", lambda: run(phi=np.zeros(4, F32), loss="softmax"), V, "`phi`.*6: 3 features"),
    ("softmax one class", lambda: run(loss="softmax"), V, "run_tasks: `phi`.*n_classes"),
    ("rule", lambda: run(rule=0.1), T, "run_tasks: `rule`.*float"),
    ("rule size", lambda: run(rule=af.OGD([0.1, 0.2])), V, r"run_tasks: `rule`.*\(2,\).*\(3,\)"),
    ("rule b size", lambda: run(rule=af.ArubaPlusPlus([1, 2], 1.0, 1.0)), V, "`rule`.*`b`"),
    ("rule overflow", lambda: run(rule=af.OGD(1e300)), V, "run_tasks: `rule`.*1e\\+300"),
    ("loss", lambda: run(loss="square"), V, "run_tasks: `loss`.*'square'.*squared, absolute"),
    ("loss None", lambda: run(loss=None), V, "run_tasks: `loss`.*None"),
    ("batch_size 0", lambda: run(batch_size=0), V, "run_tasks: `batch_size`.*got 0"),
    ("batch_size float", lambda: run(batch_size=2.0), T, "run_tasks: `batch_size`.*float"),
    ("batch_size huge", lambda: run(batch_size=2**64), V, "run_tasks: `batch_size`"),
    ("n_epochs 0", lambda: run(n_epochs=0), V, "run_tasks: `n_epochs`.*got 0"),
    ("n_epochs bool", lambda: run(n_epochs=True), T, "run_tasks: `n_epochs`.*bool"),
    ("radius 0", lambda: run(radius=0.0), V, "run_tasks: `radius`.*got 0"),
    ("radius nan", lambda: run(radius=NAN), V, "run_tasks: `radius`.*nan"),
    ("radius inf", lambda: run(radius=np.inf), V, "run_tasks: `radius`.*inf"),
    ("average", lambda: run(average=1), T, "run_tasks: `average`.*int"),
    ("evaluate tasks", lambda: af.evaluate(X, PHI, loss="squared"), T, "evaluate: `tasks`"),
    ("evaluate theta", lambda: af.evaluate(TASKS, PHI[:2], loss="squared"), V, "evaluate: `theta`"),
    ("evaluate loss", lambda: af.evaluate(TASKS, PHI, loss=""), V, "evaluate: `loss`"),
    *(
        (f"{loss} label {bad}", lambda loss=loss, good=good, bad=bad: run(
            labelled([good, bad]), np.zeros(6 if loss == "softmax" else 3, F32), loss=loss
        ), V, f"`y`.*{loss}.*row 1")
        for loss, good, bads in (
            ("logistic", 1, (-1, 2, 0.5, NAN)),
            ("hinge", 1, (0, 2, -0.5, NAN)),
            ("softmax", 1, (-1, 2, 0.5, NAN, np.inf)),
        )
        for bad in bads
    ),
]  # fmt: skip

LEARNER_ROWS = [
    ("phi empty", lambda: smoothed(PHI[:0]), V, "MetaLearner: `phi`.*empty"),
    ("phi nan", lambda: smoothed(PHI + NAN), V, "MetaLearner: `phi`.*nan"),
    ("phi 2-d", lambda: smoothed(X), V, "MetaLearner: `phi`"),
    ("phi int", lambda: smoothed([0, 1]), T, "MetaLearner: `phi`.*int64"),
    *(
        (
            f"{name} {bad}",
            lambda n=name, v=bad: learner(**{n: v}),
            V,
            f"MetaLearner: `{name}( \\* zeta)?`",
        )
        for name, values in {
            "learning_rate": (0.0, -1.0, NAN, np.inf, 1e300),
            "zeta": (0.0, -1.0, NAN, np.inf),
            "p": (-0.1, NAN, np.inf),
            "decay": (-0.1, 1.0, NAN),
            "max_learning_rate": (0.0, -1.0, NAN, np.inf),
        }.items()
        for bad in values
    ),
    ("isotropic 1", lambda: learner(isotropic=1), T, "MetaLearner: `isotropic`.*int"),
    ("zeta text", lambda: learner(zeta="1"), T, "MetaLearner: `zeta`.*str"),
    ("coef", lambda: learner().rule(coef=-1.0), V, "MetaLearner.rule: `coef`"),
    ("run", lambda: learner().update(X), T, "MetaLearner.update: `run`.*ndarray"),
    (
        "run type",
        lambda: smoothed(np.zeros(3)).update(results()),
        T,
        "`run`.*float32.*float64",
    ),
    ("run size", lambda: smoothed(PHI[:2]).update(results()), V, r"`run`.*\(2, 3\)"),
    ("weights size", lambda: learner().update(results(), weights=[1.0]), V, r"`weights`.*\(1,\)"),
    ("weights negative", lambda: learner().update(results(), weights=[1, -1]), V, "`weights`.*-1"),
    ("weights nan", lambda: learner().update(results(), weights=[1, NAN]), V, "`weights`.*nan"),
    ("weights text", lambda: learner().update(results(), weights="rows"), (T, V), "`weights`"),
    ("meta_step -1", lambda: learner().update(results(), meta_step=-1.0), V, "`meta_step`.*-1"),
    ("meta_step nan", lambda: learner().update(results(), meta_step=NAN), V, "`meta_step`.*nan"),
    ("meta_step text", lambda: learner().update(results(), meta_step="1"), T, "`meta_step`.*str"),
    (
        "meta_step returns",
        lambda: learner().update(results(), meta_step=lambda _: NAN),
        V,
        "meta_step",
    ),
    ("statistics", lambda: learner().apply(results()), T, "apply: `statistics`.*TaskRun"),
    (
        "grad_sq shape",
        lambda: results(grad_sq=np.ones((2, 2), F32)),
        V,
        r"TaskRun: `grad_sq`.*\(2, 2\)",
    ),
    ("grad_sq type", lambda: results(grad_sq=np.ones((2, 3))), T, "TaskRun: `grad_sq`.*float64"),
    ("theta_hat 1-d", lambda: results(theta_hat=PHI), V, "TaskRun: `theta_hat`"),
    ("theta_hat device", lambda: results(theta_hat=OnDevice()), C, "TaskRun: .*CUDA"),
    ("loss length", lambda: results(loss=[1.0]), V, r"TaskRun: `loss`.*\(1,\)"),
    ("train learner", lambda: train(one=af.OGD(0.1)), T, "meta_train: `learner`.*OGD"),
    (
        "train type",
        lambda: train(one=smoothed(np.zeros(3))),
        T,
        "meta_train: `learner`.*float64",
    ),
    ("train size", lambda: train(one=smoothed(PHI[:2])), V, "meta_train: `learner`.*got 2"),
    ("train loss", lambda: train(loss="log"), V, "meta_train: `loss`.*'log'"),
    ("train labels", lambda: train(loss="hinge", tasks=labelled([0, 1])), V, "`y`.*hinge"),
    ("train weights", lambda: train(weights="equal"), V, "meta_train: `weights`.*'equal'"),
    ("train round_size", lambda: train(round_size=0), V, "meta_train: `round_size`"),
    ("train n_passes", lambda: train(n_passes=-1), V, "meta_train: `n_passes`"),
    ("train seed", lambda: train(seed=1.5), T, "meta_train: `seed`"),
    ("train meta_step", lambda: train(meta_step=-0.5), V, "meta_train: `meta_step`"),
    ("train radius", lambda: train(radius=-1.0), V, "meta_train: `radius`"),
    ("train progress", lambda: train(progress=3), T, "meta_train: `progress`"),
    (
        "train outside",
        lambda: train(one=smoothed(PHI + 1), radius=1.0),
        V,
        "meta_train:.*ball",
    ),
]
ROWS = RULE_ROWS + ENGINE_ROWS + LEARNER_ROWS


@pytest.mark.parametrize(
    ("call", "error", "message"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_bad_input_has_its_sentence(call, error, message):
    before = snapshot([X, Y, PHI, TASKS.y, TASKS.starts, TASKS.stops])
    with pytest.raises(error, match=message):
        call()
    assert snapshot([X, Y, PHI, TASKS.y, TASKS.starts, TASKS.stops]) == before


def test_the_unspoiled_calls_are_accepted():
    """Every row above spoils one of these in one place."""
    assert np.isfinite(run().theta_hat).all()
    assert len(train()) == 2
    learner().update(results(), weights=[1.0, 0.0], meta_step=0.5)
    for loss, labels in (("logistic", [0, 1]), ("hinge", [-1, 1]), ("softmax", [0, 1])):
        run(labelled(labels), np.zeros(6 if loss == "softmax" else 3, F32), loss=loss)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: one.update(results(), weights=[1, NAN]),
        lambda one: one.update(results(), meta_step=-1.0),
        lambda one: one.update(results(), meta_step=lambda _: "fast"),
        lambda one: one.apply(smoothed(PHI[:2]).statistics(results(X[:2, :2], X[:2, :2]))),
        lambda one: train(one=one, meta_step=lambda _: -1.0),
        lambda one: train(one=one, loss="hinge", tasks=labelled([0, 1])),
        lambda one: train(one=one, meta_step=lambda _: 1 / 0),
    ],
)
def test_a_failed_call_leaves_the_learner_as_it_was(spoil):
    one = learner(learning_rate=0.5)
    one.update(results())
    before = snapshot([one.phi, one.learning_rate, one.b, one.g, one.rho, one.n_tasks])
    with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
        spoil(one)
    assert snapshot([one.phi, one.learning_rate, one.b, one.g, one.rho, one.n_tasks]) == before


def test_views_are_read_only():
    for array in (TASKS.x, TASKS.y, TASKS.starts, learner().phi, learner().learning_rate):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
