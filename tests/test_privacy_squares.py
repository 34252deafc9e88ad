"""What is told of sums of squares that noise has changed."""

from __future__ import annotations

import numpy as np
import pytest

from aruba_fast.privacy._squares import Squares

D = 1000
HALF = np.repeat([0.0, 2.0], D // 2)


def told(truth, noise, n_rounds, seed=0):
    """What is told in the mean of rounds; and what the largest sum so far would be."""
    rng, squares, most = np.random.default_rng(seed), Squares(D), np.zeros((2, D))
    for _ in range(n_rounds):
        growth = squares.tell(
            truth + noise * rng.standard_normal((2, D)), np.full((2, D), noise**2)
        )
        assert (growth >= 0).all()
        most = np.maximum(most, squares.known[0])
    return squares.known[2] / n_rounds, most / n_rounds


def wrong(estimate, truth):
    return np.sqrt(np.mean((estimate - truth) ** 2))


def test_without_noise_the_sums_are_told_as_they_are(rng):
    squares, total = Squares(5), np.zeros((2, 5))
    for _ in range(4):
        sums = rng.random((2, 5))
        sums[:, 3] = 0.0
        np.testing.assert_allclose(
            squares.tell(sums, np.zeros((2, 5))), sums, rtol=1e-9, atol=1e-12
        )
        total += sums
    np.testing.assert_allclose(squares.known[2], total, rtol=1e-12)


@pytest.mark.parametrize(
    ("noise", "n_rounds", "bias", "error", "of_most"),
    [(5.0, 10, 0.01, 0.9, (0.7, 1.4)), (1.0, 100, 0.01, 0.13, (0.04, 0.10))],
)
def test_the_figures_of_the_docstring(noise, n_rounds, bias, error, of_most):
    both = [told(HALF, noise, n_rounds, seed) for seed in range(8)]
    got, most = (
        (
            np.mean([(each[k] - HALF).mean() for each in both]),
            np.mean([wrong(each[k], HALF) for each in both]),
        )
        for k in (0, 1)
    )
    assert got[0] == pytest.approx(bias, abs=4 * noise / np.sqrt(8 * 2 * D * n_rounds) + 0.005)
    assert got[1] == pytest.approx(error, rel=0.05)
    assert most == pytest.approx(of_most, rel=0.1)


@pytest.mark.parametrize("noise", [0.05, 1.0, 20.0])
def test_coordinates_that_do_not_differ_are_told_their_mean(noise):
    got, _ = told(np.ones(D), noise, 10)
    assert wrong(got, 1.0) < 5 * noise / np.sqrt(10 * D) + 0.02 * noise / np.sqrt(10)


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_coordinates_that_differ_by_more_than_the_noise_keep_what_they_have(noise):
    got, _ = told(HALF, noise, 100)
    assert wrong(got, HALF) < 2 * noise / np.sqrt(100)


@pytest.mark.parametrize("noise", [5.0, 50.0])
def test_no_coordinate_is_told_next_to_nothing_because_of_noise(noise):
    """Or the next clip, in units of what was told, would shorten all tasks to nothing."""
    got, _ = told(HALF, noise, 1)
    assert got.min() > 0.2


def test_a_mean_below_zero_is_told_as_its_own_noise():
    squares = Squares(D)
    growth = squares.tell(np.full((2, D), -3.0), np.full((2, D), 4.0))
    np.testing.assert_allclose(growth, 2.0 / np.sqrt(D), rtol=1e-9)
