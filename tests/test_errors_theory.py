"""Bad input of the theory: one row each, with its message."""

from __future__ import annotations

import numpy as np
import pytest

import aruba_fast as af
from aruba_fast import theory

X, Y = np.ones((6, 3)), np.arange(6.0)
TASKS = af.Tasks(X * np.arange(1, 7)[:, None], Y, [0, 2, 6])
RUN = af.run_tasks(TASKS, np.zeros(3), af.OGD(0.01), loss="squared")
BEST = theory.best_in_hindsight(TASKS, loss="squared")
STAR = BEST.theta_star
SIMPLEX = np.full((2, 3), 1 / 3)
NAN, V, T = float("nan"), ValueError, TypeError


def best(tasks=TASKS, loss="squared", **options):
    return theory.best_in_hindsight(tasks, loss=loss, **options)


def bound(run=RUN, star=STAR, phi=None, rule=None, **options):
    phi = np.zeros(3) if phi is None else phi
    return theory.regret_upper_bound(
        run, star, phi, af.OGD(0.1) if rule is None else rule, **options
    )


def scale(**options):
    return theory.ScaleLearner(**({"diameter": 1.0, "eps": 0.1} | options))


def experts(phi=None, **options):
    return theory.InitializationExperts(
        np.zeros(2) if phi is None else phi, **({"n_tasks": 4} | options)
    )


def risk(support=TASKS, query=TASKS, rule=None, **options):
    rule = af.OGD(0.1) if rule is None else rule
    return theory.transfer_risk(support, query, np.zeros(3), rule, loss="squared", **options)


def eg(phi=SIMPLEX[0], rate=0.1, loss="squared", **options):
    return af.run_tasks(TASKS, phi, af.EG(rate), loss=loss, **options)


def matrix(**options):
    return theory.FullMatrixLearner(np.zeros(3), **options)


PATH = np.zeros((4, 2))
ROWS = [
    ("best tasks", lambda: best(X), T, "best_in_hindsight: `tasks`.*ndarray"),
    ("best loss", lambda: best(loss="zero"), V, "best_in_hindsight: `loss`.*'zero'"),
    ("best labels", lambda: best(loss="logistic"), V, "`y`.*labels 0 and 1"),
    ("best radius 0", lambda: best(radius=0.0), V, "best_in_hindsight: `radius`"),
    ("best radius inf", lambda: best(radius=np.inf), V, "best_in_hindsight: `radius`"),
    ("best ridge", lambda: best(regularization=-1.0), V, "best_in_hindsight: `regularization`"),
    ("best classes", lambda: best(n_classes=3), V, "best_in_hindsight: `n_classes`.*softmax"),
    ("best one class", lambda: best(loss="softmax", n_classes=1), V, "`n_classes`"),
    ("best batch", lambda: best(batch_size=0), V, "best_in_hindsight: `batch_size`"),
    ("best epochs", lambda: best(n_epochs=1.5), T, "best_in_hindsight: `n_epochs`"),
    ("best tolerance", lambda: best(tolerance=0.0), V, "best_in_hindsight: `tolerance`"),
    ("regret run", lambda: theory.regret(BEST, BEST), T, "regret: `run`.*Hindsight"),
    ("regret best", lambda: theory.regret(RUN, RUN), T, "regret: `best`.*TaskRun"),
    (
        "regret no loss", lambda: theory.regret(af.TaskRun(STAR, STAR), BEST), V,
        "regret: `run`.*None",
    ),
    (
        "regret sizes",
        lambda: theory.regret(
            af.run_tasks(TASKS[:1], np.zeros(3), af.OGD(0.1), loss="squared"), BEST
        ),
        V, r"regret: `best`.*\(2,\).*\(1,\)",
    ),
    ("bound run", lambda: bound(run=STAR), T, "regret_upper_bound: `run`.*ndarray"),
    ("bound best", lambda: bound(star=STAR[:1]), V, r"regret_upper_bound: `best`.*\(1, 3\)"),
    ("bound phi", lambda: bound(phi=np.zeros(4)), V, r"regret_upper_bound: `phi`.*\(4,\)"),
    ("bound rule", lambda: bound(rule=0.1), T, "regret_upper_bound: `rule`.*float"),
    ("bound no rate", lambda: bound(rule=af.OGD(0.0)), V, "regret_upper_bound: `rule`"),
    ("bound rates", lambda: bound(rule=af.OGD([0.1, 0.2])), V, r"`rule`.*\(2,\).*\(3,\)"),
    ("bound form", lambda: bound(form="loose"), V, "regret_upper_bound: `form`.*'loose'"),
    ("bound blog", lambda: bound(form="blog"), V, "regret_upper_bound: `n_steps`.*None"),
    (
        "bound blog AdaGrad", lambda: bound(rule=af.AdaGrad(0.1, 0.1), form="blog"), V,
        "regret_upper_bound: `form`.*tight",
    ),
    ("bound steps", lambda: bound(rule=af.AdaGrad(0.1, 0.1)), V, "`n_steps`.*None"),
    (
        "bound steps size", lambda: bound(rule=af.AdaGrad(0.1, 0.1), n_steps=[1, 2, 3]), V,
        r"`n_steps`.*\(3,\)",
    ),
    ("bound diameter", lambda: bound(diameter=0.0), V, "regret_upper_bound: `diameter`"),
    ("bound lipschitz", lambda: bound(lipschitz=-1.0), V, "regret_upper_bound: `lipschitz`"),
    ("bound gradient", lambda: bound(gradient=1), T, "regret_upper_bound: `gradient`"),
    ("similarity kind", lambda: theory.task_similarity(STAR, kind="l1"), V, "`kind`.*'l1'"),
    ("similarity simplex", lambda: theory.task_similarity(STAR, kind="kl"), V, "`best`.*simplex"),
    (
        "similarity phi", lambda: theory.task_similarity(STAR, phi=np.zeros(4)), V,
        r"task_similarity: `phi`.*\(4,\)",
    ),
    (
        "similarity weights", lambda: theory.task_similarity(STAR, weights=[0.0, 0.0]), V,
        "task_similarity: `weights`",
    ),
    ("similarity empty", lambda: theory.task_similarity(np.zeros((0, 2))), V, "`best`.*empty"),
    ("scale diameter", lambda: scale(diameter=0.0), V, "ScaleLearner: `diameter`"),
    ("scale eps", lambda: scale(eps=-0.1), V, "ScaleLearner: `eps`"),
    ("scale nothing", lambda: scale(eps=None), V, "ScaleLearner: `eps`.*`n_tasks`"),
    ("scale method", lambda: scale(method="adam"), V, "ScaleLearner: `method`.*'adam'"),
    ("scale steps", lambda: scale().rule(0), V, "ScaleLearner.rule: `n_steps`"),
    ("scale phi", lambda: scale().update([[1.0]], [0.0, 0.0], 3), V, "update: `phi`"),
    ("scale nan", lambda: scale().update([[NAN]], [0.0], 3), V, "update: `theta`"),
    ("experts phi", lambda: experts(np.zeros((2, 2))), V, "InitializationExperts: `phi`"),
    ("experts nan", lambda: experts([NAN]), V, "InitializationExperts: `phi`.*nan"),
    ("experts tasks", lambda: experts(n_tasks=0), V, "InitializationExperts: `n_tasks`"),
    ("experts ratio", lambda: experts(ratio=1.0), V, "InitializationExperts: `ratio`"),
    ("experts alphas", lambda: experts(alphas=[0.5, 1.5]), V, "InitializationExperts: `alphas`"),
    ("experts theta", lambda: experts().update(np.zeros(3)), V, "update: `theta`"),
    ("experts theta nan", lambda: experts().update([0.0, NAN]), V, "update: `theta`.*nan"),
    ("dynamic theta", lambda: theory.dynamic_regret(PATH, PATH[:2], PATH), V, "regret: `theta`"),
    ("dynamic path", lambda: theory.dynamic_regret(PATH, PATH, PATH[:1]), V, "regret: `path`"),
    (
        "dynamic alpha",
        lambda: theory.dynamic_regret_bound(PATH, PATH, PATH, alpha=0.0, diameter=1.0), V,
        "dynamic_regret_bound: `alpha`",
    ),
    ("eg rate", lambda: eg(rate=-0.1), V, "EG: `learning_rate`"),
    ("eg phi sum", lambda: eg(np.full(3, 0.3)), V, "run_tasks: `phi`.*simplex"),
    ("eg phi zero", lambda: eg(np.array([0.5, 0.5, 0.0])), V, "run_tasks: `phi`.*> 0"),
    ("eg radius", lambda: eg(radius=1.0), V, "run_tasks: `radius`.*EG"),
    (
        "eg softmax",
        lambda: af.run_tasks(
            af.Tasks(X, [0, 1, 0, 1, 1, 0], [0, 6]), np.full(6, 1 / 6), af.EG(0.1), loss="softmax"
        ),
        V, "run_tasks: `loss`.*EG",
    ),
    ("simplex size", lambda: theory.SimplexLearner(1), V, "SimplexLearner: `n_parameters`"),
    ("simplex mixing", lambda: theory.SimplexLearner(2, mixing=0.0), V, "SimplexLearner: `mixing`"),
    ("simplex run", lambda: theory.SimplexLearner(3).update(RUN), V, "update: `run`.*simplex"),
    ("simplex type", lambda: theory.SimplexLearner(3).update(STAR), T, "update: `run`.*ndarray"),
    ("matrix size", lambda: theory.FullMatrixLearner(np.zeros(513)), V, "512 parameters.*got 513"),
    ("matrix rate", lambda: matrix(learning_rate=0.0), V, "FullMatrixLearner: `learning_rate`"),
    ("matrix nan", lambda: theory.FullMatrixLearner([NAN]), V, "FullMatrixLearner: `phi`.*nan"),
    (
        "matrix float32",
        lambda: matrix().run(af.Tasks(X.astype(np.float32), Y, [0, 6]), loss="squared"), T,
        "`tasks` must be float64: got float32",
    ),
    ("matrix loss", lambda: matrix().run(TASKS, loss="zero"), V, "`loss`.*'zero'"),
    ("matrix update", lambda: matrix().update(RUN), T, "update: `run`.*TaskRun"),
    ("average", lambda: theory.MetaAverage().add(RUN), T, "MetaAverage.add: `learner`.*TaskRun"),
    ("average empty", lambda: theory.MetaAverage().phi, V, "MetaAverage.*none so far"),
    ("risk tasks", lambda: risk(query=X), T, "transfer_risk: `tasks`.*ndarray"),
    ("risk sizes", lambda: risk(query=TASKS[:1]), V, "transfer_risk: `query`.*got 1"),
    ("risk few", lambda: risk(), V, "transfer_risk: `support`.*at least 5.*got 2"),
    ("risk confidence", lambda: risk(confidence=1.0), V, "transfer_risk: `confidence`"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_bad_input_has_its_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_unspoiled_calls_are_accepted():
    assert len(best()) == 2
    assert (bound() > 0).all()
    assert scale().rule(4).learning_rate == 0.05
    experts().update(np.zeros(2))
    assert np.isfinite(eg().theta_hat).all()
    matrix(learning_rate=0.01).update(matrix(learning_rate=0.01).run(TASKS, loss="squared"))


def test_a_failed_update_changes_nothing():
    for learner, spoiled, state in (
        (scale(), lambda one: one.update([[NAN]], [0.0], 3), lambda one: one.scale),
        (experts(), lambda one: one.update([[0.0, 1.0], [NAN, 0.0]]), lambda one: one.losses.sum()),
        (theory.SimplexLearner(3), lambda one: one.update(RUN), lambda one: one.b + one.phi.sum()),
    ):
        before = state(learner)
        with pytest.raises(ValueError, match="update"):
            spoiled(learner)
        assert state(learner) == before
        assert learner.n_tasks == 0
