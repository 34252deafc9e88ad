"""Following the regularized leader: its regret, measured, and the bound on it."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import LOSSES, n_parameters, pack, task_data
from reference_population import proximal
from test_proximal import matrix, pieces_of, rates_of

import aruba_fast as af
from aruba_fast import theory


@pytest.mark.parametrize("kind", ["vector", "matrix"])
@pytest.mark.parametrize("loss", LOSSES)
def test_regret_of_following_the_regularized_leader_is_at_most_its_bound(rng, loss, kind):
    """R <= |theta* - phi|^2_{1/(cH)} / 2 + c/2 sum |grad_i|_H^2; iterates are runs of prefixes."""
    d, m, coef = 3, 25, 0.8
    n = n_parameters(loss, d)
    rates = rates_of(kind, rng, n)
    if kind == "vector":
        rates[0] = 0.5
    h = coef * matrix(rates, n)
    phi = 0.2 * rng.standard_normal(n)
    pieces = [task_data(loss, rng, m, d) for _ in range(6)]
    tasks, rule = pack(pieces, np.float64), af.Proximal(rates, coef)
    iterates = [np.tile(phi, (len(pieces), 1))]
    for i in range(1, m):
        iterates.append(af.run_tasks(tasks.shots(i)[0], phi, rule, loss=loss).theta_hat)
    for k, (x, y) in enumerate(pieces):
        lost, squares = 0.0, 0.0
        for i in range(m):
            z = reference.scores(iterates[i][k], x[i : i + 1], loss)
            value, slope = reference.LOSSES[loss](z, y[i : i + 1])
            gradient = (slope.T @ x[i : i + 1]).reshape(-1)
            lost += value.sum()
            squares += gradient @ h @ gradient
        for other in (0.1, 1.0):  # comparators: the minimizers near and far, and random ones
            star = proximal(x, y, phi, other * np.eye(n), loss)[0]
            for comparator in (star, star + 0.3 * rng.standard_normal(n), phi):
                away = comparator - phi
                best = reference.LOSSES[loss](reference.scores(comparator, x, loss), y)[0].sum()
                bound = 0.5 * away @ np.linalg.solve(h, away) + 0.5 * squares
                assert lost - best <= bound + 1e-9


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_leader_has_a_regret_and_its_bound(rng, loss, weighted):
    """Tasks of any length, whose rows may count for more; the losses are those of the iterates."""
    d, coef = 3, 0.8
    n = n_parameters(loss, d)
    rates, phi = 0.1 + rng.random(n), 0.2 * rng.standard_normal(n)
    tasks = pack(pieces_of(loss, rng, d, (1, 2, 9, 30, 5)), np.float64)
    if weighted:
        weights = 0.5 + rng.random(tasks.n_rows)
        tasks = af.Tasks(tasks.x, tasks.y, np.append(0, tasks.stops), row_weights=weights)
    rule = af.Proximal(rates, coef)
    run = theory.follow_the_leader(tasks, phi, rule, loss=loss)
    whole = af.run_tasks(tasks, phi, rule, loss=loss)
    for name in ("theta_hat", "weight"):
        np.testing.assert_array_equal(getattr(run, name), getattr(whole, name))
    best = theory.best_in_hindsight(tasks, loss=loss, radius=3.0)
    regret = theory.regret(run, best)
    bound = theory.regret_upper_bound(run, best, phi, rule)
    assert (regret <= bound + 1e-9).all()
    # Where its first row meets phi, and how steep it is there.
    first = tasks.sizes == 1
    alone = af.run_tasks(tasks[first], phi, af.OGD(0.0), loss=loss)
    np.testing.assert_array_equal(run.loss[first], alone.loss)
    np.testing.assert_array_equal(run.grad_sq[first], alone.grad_sq)
    expected = (
        0.5 * (best.theta_star - phi) ** 2 / (coef * rates) + 0.5 * coef * rates * run.grad_sq
    )
    np.testing.assert_allclose(bound, expected.sum(axis=1), 1e-12)
    blog = theory.regret_upper_bound(run, best, phi, rule, form="blog")
    np.testing.assert_allclose(blog - bound, 0.5 * coef * (rates * run.grad_sq).sum(axis=1), 1e-9)


def test_the_leader_of_float32(rng):
    tasks = pack(pieces_of("squared", rng, 4, (3, 7)), np.float32)
    run = theory.follow_the_leader(tasks, np.zeros(4, np.float32), af.Proximal(0.5), loss="squared")
    assert run.theta_hat.dtype == run.grad_sq.dtype == np.float32
    wide = pack(pieces_of("squared", np.random.default_rng(1), 4, (3, 7)), np.float64)
    assert theory.follow_the_leader(wide, np.zeros(4), af.Proximal(0.5), loss="squared").loss.shape


LEADER = [
    (
        lambda _: theory.follow_the_leader(3, PHI, af.Proximal(0.1), loss="squared"),
        "`tasks` must be",
    ),
    (
        lambda t: theory.follow_the_leader(t, PHI, af.OGD(0.1), loss="squared"),
        "`rule` must be Prox",
    ),
    (
        lambda t: theory.follow_the_leader(t, PHI[:1], af.Proximal(0.1), loss="squared"),
        "`phi` must",
    ),
    (
        lambda t: theory.regret_upper_bound(
            af.run_tasks(t, PHI, af.OGD(0.1), loss="squared"),
            np.ones((2, 2)),
            PHI,
            af.Proximal(np.eye(2)),
        ),
        "`rule` must have a rate for each parameter: got a matrix",
    ),
    (
        lambda t: theory.regret_upper_bound(
            af.run_tasks(t, PHI, af.OGD(0.1), loss="squared"),
            np.ones((2, 2)),
            PHI,
            af.Proximal(0.0),
        ),
        "`rule` must be finite and > 0",
    ),
]
PHI = np.zeros(2)


@pytest.mark.parametrize(("call", "message"), LEADER, ids=[row[1] for row in LEADER])
def test_what_no_leader_follows(call, message):
    tasks = af.Tasks(np.ones((2, 3, 2)), np.ones((2, 3)))
    with pytest.raises((TypeError, ValueError), match=message):
        call(tasks)
