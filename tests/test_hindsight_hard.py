"""The best in hindsight where columns are far from zero, of any scale or nearly dependent."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import reference
from cases import LOSSES, N_CLASSES

import aruba_fast as af

M = 30
PLAIN = ["squared", "absolute", "huber", "logistic", "softmax"]


def best(x, y, loss, **options):
    """The result for one task; whether its gap is within the tolerance is not asked here."""
    classes = N_CLASSES if loss == "softmax" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = af.theory.best_in_hindsight(
            af.Tasks(x, y, [0, len(y)]), loss=loss, n_classes=classes, **options
        )
    return found.theta_star[0], found.loss[0], found.gap[0]


def labels(loss, z, rng):
    y = 1.0 + 0.5 * z + 0.35 * rng.standard_normal(len(z))
    if loss == "logistic":
        return (y + rng.logistic(size=len(z)) > 1.0) * 1.0
    if loss == "softmax":
        return rng.permuted(np.arange(len(z)) % N_CLASSES) * 1.0
    if loss == "hinge":
        return np.where(y + rng.logistic(size=len(z)) > 1.0, 1.0, -1.0)
    return y


def loss_in_long_double(theta, x, y, loss):
    """Of the returned parameters themselves, in more digits than float64 has."""
    rows = x.astype(np.longdouble)
    z = rows @ theta.astype(np.longdouble).reshape(-1, x.shape[1]).T
    if loss != "softmax":
        z = z[:, 0]
    if loss == "squared":
        return float((0.5 * (z - y) ** 2).sum())
    if loss == "absolute":
        return float(np.abs(z - y).sum())
    if loss == "huber":
        r = np.abs(z - y)
        return float(np.where(r > 1, r - 0.5, 0.5 * r * r).sum())
    return float(reference.LOSSES[loss](z.astype(float), y)[0].sum())


@pytest.mark.parametrize("loss", PLAIN)
@pytest.mark.parametrize("c", [0.0, 1e4, 1e6, 1e7, 3e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14])
def test_a_column_far_from_zero(loss, c):
    """[1, c + z] spans what [1, z] does: the loss of that, which is well conditioned."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        column = c + rng.standard_normal(M)
        near = np.column_stack([np.ones(M), column - c])  # exact
        y = labels(loss, near[:, 1], rng)
        _, right, _ = best(near, y, loss)
        theta, found, gap = best(np.column_stack([np.ones(M), column]), y, loss)
        # What no float64 parameters can avoid: half a digit of the largest at every row.
        unavoidable = M * (1 + c) * 2.0**-52
        allowed = unavoidable if loss == "absolute" else 10 * M * unavoidable**2 / M**2
        assert found <= right + allowed + 1e-8
        assert right <= found + 1e-9
        assert found - right <= gap
        assert gap <= 4 * allowed + 1e-7
        if c <= 1e11 and np.finfo(np.longdouble).eps < 1e-18:
            own = loss_in_long_double(theta, np.column_stack([np.ones(M), column]), y, loss)
            assert own == pytest.approx(found, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("c", [1e8, 1e10, 1e12])
@pytest.mark.parametrize("bound", [{"radius": 1e9}, {"radius": 1.0}, {"regularization": 1e-3}])
def test_a_column_far_from_zero_in_a_ball(loss, c, bound, rng):
    """No point of the line from ours to the free minimizer's is lower by more than the gap."""
    z = rng.standard_normal(M)
    x = np.column_stack([np.ones(M), c + z])
    y = labels(loss, z, rng)
    theta, found, gap = best(x, y, loss, **bound)
    radius, ridge = bound.get("radius", np.inf), bound.get("regularization", 0.0)
    assert np.linalg.norm(theta) <= radius * (1 + 1e-12)
    ours = found + 0.5 * ridge * theta @ theta
    assert gap <= 1e-4
    slope = np.linspace(-2.0, 2.0, 81)
    size = len(theta) // 2
    for direction in np.eye(size) if size > 1 else np.ones((1, 1)):
        for b in slope:
            for a in (0.0, 1.0):  # predictions a + b z
                other = np.outer(direction, [a - b * c, b]).ravel()
                length = np.linalg.norm(other)
                other = other * min(1.0, radius / length if length > 0 else 1.0)
                theirs = loss_in_long_double(other, x, y, loss) + 0.5 * ridge * other @ other
                assert ours <= theirs + gap + 1e-9 * max(1.0, theirs)


SCALES = {
    "wide": 10.0 ** np.array([-150.0, -75.0, 0.0, 75.0, 150.0]),
    "tiny": 10.0 ** np.array([-300.0, -200.0, -160.0, -155.0, -100.0]),
    "huge": 10.0 ** np.array([0.0, 100.0, 160.0, 200.0, 290.0]),
    "subnormal": np.array([1.0, 2.0**-1030, 2.0**-1022, 1.0, 1.0]),
}


@pytest.mark.parametrize("loss", PLAIN)
@pytest.mark.parametrize("name", SCALES)
def test_columns_of_any_scale(loss, name, rng):
    """A column times a power of two changes nothing: the loss is that of the columns themselves."""
    unit = 2.0 ** np.round(np.log2(SCALES[name]))
    x = np.round(2.0**20 * rng.standard_normal((60, 5))) / 2.0**20
    if name == "subnormal":
        x = np.where(unit < 1e-300, np.round(16 * x), x)  # subnormal numbers have few digits
    y = labels(loss, x[:, 0], rng) * (1e-3 if name in ("tiny", "subnormal") else 1.0)
    y = np.ceil(y) if loss in ("logistic", "softmax") else y
    _, right, _ = best(x, y, loss)
    theta, found, gap = best(x * unit, y, loss)
    assert np.isfinite(theta).all()
    assert abs(found - right) <= gap + 1e-8 * max(1.0, right)
    if name != "subnormal" or loss not in ("logistic", "softmax"):  # beyond the largest number
        assert gap <= 1e-7 * max(1.0, right)


@pytest.mark.parametrize("loss", PLAIN)
@pytest.mark.parametrize("apart", [1e-3, 1e-6, 1e-8, 1e-10, 1e-12])
def test_columns_that_are_nearly_collinear(loss, apart, rng):
    x = np.round(2.0**10 * rng.standard_normal((M, 3))) / 2.0**10
    step = 2.0 ** np.round(np.log2(apart))
    near = np.column_stack([x[:, 0], x[:, 0] + step * x[:, 1], x[:, 2]])  # exact
    y = labels(loss, x[:, 1], rng)
    _, right, _ = best(x, y, loss)
    _, found, gap = best(near, y, loss)
    allowed = M / apart * 2.0**-50
    assert -1e-9 <= found - right <= gap
    assert gap <= 1e-7 + (allowed if loss == "absolute" else allowed**2)


@pytest.mark.parametrize("loss", PLAIN)
@pytest.mark.parametrize("what", ["twice", "constant", "zero", "sum"])
def test_columns_that_are_dependent(loss, what, rng):
    x = rng.standard_normal((M, 2))
    more = {
        "twice": [x[:, 0], x[:, 1]],
        "constant": [np.full(M, 3.7), np.full(M, 0.1)],
        "zero": [np.zeros(M), np.zeros(M)],
        "sum": [x[:, 0] + x[:, 1], x[:, 0] - 0.3 * x[:, 1]],
    }[what]
    y = labels(loss, x[:, 1], rng)
    span = np.column_stack([x, np.ones(M)]) if what == "constant" else x
    _, right, _ = best(span, y, loss)
    theta, found, gap = best(np.column_stack([x, *more]), y, loss)
    assert found == pytest.approx(right, rel=1e-8, abs=1e-8)
    assert gap <= 1e-7
    assert np.abs(theta).max() < 1e3


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
@pytest.mark.parametrize("offset", [1e6, 1e9, 1e12])
def test_labels_far_from_zero(loss, offset, rng):
    z = rng.standard_normal(M)
    x = np.column_stack([np.ones(M), z])
    far = offset + labels(loss, z, rng)
    _, right, _ = best(x, far - offset, loss)  # exact: the distances of the labels as they are
    _, found, gap = best(x, far, loss)
    unavoidable = M * offset * 2.0**-52
    assert -1e-9 <= found - right <= gap
    assert gap <= 1e-8 + (4 * unavoidable if loss == "absolute" else unavoidable**2)


def test_a_gap_is_not_below_the_rounding_of_the_loss(rng):
    x, y = rng.standard_normal((200, 5)), rng.standard_normal(200)
    _, loss, gap = best(x, y, "squared")
    assert 2.0**-53 * loss < gap < 1e-12 * loss
