"""Linear mixed models by expectation maximization: the coefficients of people are Gaussian.

    y = X beta + Z b + noise,   b ~ N(0, cov) for every person,   Z some or all of X's columns

The restricted likelihood (REML) is maximized: beta, with a flat prior, is one more unknown of the
E step, so that every iteration raises it (Laird and Ware, Biometrics 38, 1982). All that is needed
of a person are sums over the rows, of p x p numbers; nothing loops over people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

TOLERANCE = 1e-6
MAX_ITERATIONS = 500
# A column with less than this share of its squares beyond the other columns is one of them.
ALIASED = 1e-9


@dataclass(frozen=True)
class Moments:
    """Sums over every person's rows.

    Attributes:
        xx: Of x x^T, [n_people, p, p].
        xy: Of x y, [n_people, p].
        yy: Of y^2, [n_people].
        n: Of 1, [n_people].
    """

    xx: Floats
    xy: Floats
    yy: Floats
    n: Floats


def moments(
    x: Floats, y: Floats, offsets: NDArray[np.int64], weight: Floats | None = None
) -> Moments:
    """Sums over rows that are sorted by person, weighted or not."""
    starts = offsets[:-1]
    weighted = x if weight is None else x * weight[:, None]
    return Moments(
        np.add.reduceat(weighted[:, :, None] * x[:, None, :], starts, axis=0),
        np.add.reduceat(weighted * y[:, None], starts, axis=0),
        np.add.reduceat(y * y if weight is None else weight * y * y, starts),
        np.diff(offsets).astype(np.float64),
    )


@dataclass(frozen=True)
class Model:
    """A mixed model.

    Attributes:
        beta: Coefficients of the average person, [p]; found anew by every iteration.
        cov: Covariance of people's own, [q, q].
        noise: Variance of a row.
        columns: Which of the p columns are random.
    """

    beta: Floats
    cov: Floats
    noise: float
    columns: NDArray[np.intp]


def posterior(data: Moments, model: Model) -> tuple[Floats, Floats]:
    """People's own coefficients given their rows: mean [n_people, q], variance [n_people, q, q]."""
    z = model.columns
    v, _ = _variance(data.xx[:, z[:, None], z], model)
    zr = data.xy[:, z] - data.xx[:, z] @ model.beta
    return (v @ zr[:, :, None])[:, :, 0] / model.noise, v


def _variance(zz: Floats, model: Model) -> tuple[Floats, float]:
    """V = (zz / noise + cov^-1)^-1 of every person, and the sum of log |I + zz cov / noise|.

    By a root of the covariance, which may be singular.
    """
    values, vectors = np.linalg.eigh(model.cov)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    inner = root.T @ zz @ root / model.noise
    inner += np.eye(len(root))
    log_det = 2.0 * float(np.log(np.linalg.cholesky(inner).diagonal(axis1=1, axis2=2)).sum())
    return root @ np.linalg.inv(inner) @ root.T, log_det


def iterate(data: Moments, model: Model, diagonal: bool) -> tuple[Model, float]:
    """One iteration of EM.

    Returns:
        The next model, with the beta of greatest likelihood under the one given; and the restricted
        log-likelihood of the one given.
    """
    z, s = model.columns, model.noise
    (people, p), q = data.xy.shape, len(model.columns)
    zz, zx, zy = data.xx[:, z[:, None], z], data.xx[:, z], data.xy[:, z]
    v, log_det = _variance(zz, model)
    g = v @ zx / s  # how b moves against beta
    flat_g, flat_zx = g.reshape(-1, p), zx.reshape(-1, p)
    xx, cross = data.xx.sum(axis=0), flat_zx.T @ flat_g
    information = (xx - cross) / s
    c = np.linalg.inv(information)
    beta = c @ (data.xy.sum(axis=0) - flat_g.T @ zy.reshape(-1)) / s

    zr = zy - zx @ beta
    b = (v @ zr[:, :, None])[:, :, 0] / s
    squares = data.yy.sum() - 2 * beta @ data.xy.sum(axis=0) + beta @ xx @ beta
    n = data.n.sum()
    likelihood = (n - p) * np.log(2 * np.pi) + n * np.log(s) + log_det
    likelihood += np.linalg.slogdet(information)[1] + (squares - (zr * b).sum()) / s

    roots = (flat_g @ np.linalg.cholesky((c + c.T) / 2)).reshape(people, q, p)
    g_root = roots.transpose(1, 0, 2).reshape(q, -1)
    cov = (b.T @ b + v.sum(axis=0) + g_root @ g_root.T) / people
    left = squares - 2 * (zr * b).sum() + ((zz @ b[:, :, None])[:, :, 0] * b).sum()
    left += (zz * v).sum()
    left += (c * (xx - cross - cross.T + flat_g.T @ (zz @ g).reshape(-1, p))).sum()
    cov = np.diag(np.diag(cov)) if diagonal else (cov + cov.T) / 2
    return Model(beta, cov, float(left / n), z), -0.5 * float(likelihood)


def independent(xx: Floats) -> NDArray[np.intp]:
    """Columns that are no combination of others, the last first, by their summed products."""
    kept: list[int] = []
    for j in range(len(xx) - 1, -1, -1):
        rest = xx[j, j]
        if kept:
            rest -= xx[j, kept] @ np.linalg.solve(xx[np.ix_(kept, kept)], xx[kept, j])
        if rest > ALIASED * xx[j, j]:
            kept.append(j)
    return np.array(sorted(kept), np.intp)


def fit(data: Moments, columns: NDArray[np.intp], diagonal: bool) -> tuple[Model, list[float]]:
    """The model of greatest restricted likelihood, as far as 500 iterations come.

    EM creeps where a variance goes to nothing. After two iterations a third leaps (Varadhan and
    Roland's SQUAREM, Scandinavian Journal of Statistics 35, 2008) and is taken back if it fell.

    Returns:
        The model, and the likelihoods that were passed.
    """
    xx, xy = data.xx.sum(axis=0), data.xy.sum(axis=0)
    beta = np.linalg.solve(xx, xy)
    half = float(data.yy.sum() - beta @ xy) / data.n.sum() / 2
    scale = np.diag(xx)[columns] / data.n.sum()
    model = Model(beta, np.diag(half / len(columns) / scale), half, columns)
    likelihoods: list[float] = []
    for _ in range(MAX_ITERATIONS // 3):
        first, likelihood = iterate(data, model, diagonal)
        second, middle = iterate(data, first, diagonal)
        likelihoods += [likelihood, middle]
        leap = _leap(model, first, second)
        model, end = second, middle
        if leap is not None:
            landed, likelihood_there = iterate(data, leap, diagonal)
            if likelihood_there >= middle:
                likelihoods.append(likelihood_there)
                model, end = landed, likelihood_there
        if end - likelihood <= TOLERANCE * abs(likelihood):
            break
    return model, likelihoods


def _leap(start: Model, first: Model, second: Model) -> Model | None:
    a, b, c = (_free(model) for model in (start, first, second))
    r, v = b - a, (c - b) - (b - a)
    length = np.linalg.norm(r) / max(float(np.linalg.norm(v)), np.finfo(float).tiny)
    if not 1.0 < length < np.inf:
        return None
    free = a + 2 * length * r + length**2 * v
    if free[-1] < c[-1] + np.log(np.finfo(float).eps):
        return None  # rows without noise: there is no limit to what it would leap to
    q = len(start.cov)
    root = np.zeros((q, q))
    root[np.tril_indices(q)] = free[:-1]
    with np.errstate(over="ignore"):
        root[np.diag_indices(q)] = np.exp(np.diag(root))
        cov, noise = root @ root.T, float(np.exp(free[-1]))
    return Model(second.beta, cov, noise, start.columns) if np.isfinite(cov).all() else None


def _free(model: Model) -> Floats:
    """The root of the covariance and the noise as numbers that may be any."""
    q = len(model.cov)
    least = np.finfo(float).eps * np.trace(model.cov) / q  # a variance of nothing has no logarithm
    root = np.linalg.cholesky(model.cov + least * np.eye(q))
    root[np.diag_indices(q)] = np.log(np.diag(root))
    return np.append(root[np.tril_indices(q)], np.log(model.noise))
