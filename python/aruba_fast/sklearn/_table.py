"""Everybody's parameters: a dense table, or what each has changed of the start they share."""

from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array, vstack

from .._check import Float64Array, Int64Array

# Changes that are gathered at a time: 48 MB.
_AT_A_TIME = 1 << 22


class DenseTable:
    """A row of parameters a person."""

    def __init__(self, rows: Float64Array) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def theta(self, person: int) -> Float64Array:
        """The parameters of a person, [n_parameters]."""
        own: Float64Array = self._rows[person]
        return own

    def spread(self, phi: Float64Array) -> Float64Array:
        """The root of people's mean squared distance from `phi`, [n_parameters]."""
        found: Float64Array = np.sqrt(np.square(self._rows - phi).mean(axis=0))
        return found

    def scores(self, rows: Float64Array, people: Int64Array) -> Float64Array:
        """The scores of rows by the parameters of the people they are of, [n_rows, n_outputs]."""
        table = self._rows.reshape(len(self._rows), -1, rows.shape[1])
        scores: Float64Array = np.einsum("np,nkp->nk", rows, table[people])
        return scores

    def changed(self, people: Int64Array, other: "Table") -> "DenseTable":
        """The table in which these people, who may be new, have the parameters of another one."""
        assert isinstance(other, DenseTable)
        n = max(len(self), int(people.max()) + 1)
        rows = np.concatenate([self._rows, np.empty((n - len(self), self._rows.shape[1]))])
        rows[people] = other._rows
        return DenseTable(rows)


class SparseTable:
    """The same for sparse rows: the start, and what a person changed in the columns they touch."""

    def __init__(self, phi: Float64Array, changes: csr_array) -> None:
        self._phi, self._changes = phi, changes

    def __len__(self) -> int:
        return int(self._changes.shape[0])

    def theta(self, person: int) -> Float64Array:
        theta: Float64Array = self._phi.copy()
        own = slice(*self._changes.indptr[person : person + 2])
        theta[self._changes.indices[own]] += self._changes.data[own]
        return theta

    def spread(self, phi: Float64Array) -> Float64Array:
        gone = self._changes
        squares = np.bincount(gone.indices, np.square(gone.data), minlength=len(phi))
        found: Float64Array = np.sqrt(squares / len(self))
        return found

    def scores(self, rows: csr_array, people: Int64Array) -> Float64Array:
        width = rows.shape[1]
        scores: Float64Array = rows @ self._phi.reshape(-1, width).T
        ends = np.cumsum(np.diff(self._changes.indptr)[people])
        first = 0
        while first < len(people):
            gathered = ends[first - 1] if first else 0
            stop = max(first + 1, int(np.searchsorted(ends, gathered + _AT_A_TIME)))
            part = slice(first, stop)
            own = self._changes[people[part]]
            for c in range(scores.shape[1]):
                of_class = own[:, c * width : (c + 1) * width]
                scores[part, c] += rows[part].multiply(of_class).sum(axis=1)
            first = stop
        return scores

    def changed(self, people: Int64Array, other: "Table") -> "SparseTable":
        assert isinstance(other, SparseTable)
        place = np.arange(max(len(self), int(people.max()) + 1))
        place[people] = len(self) + np.arange(len(people))
        return SparseTable(self._phi, vstack([self._changes, other._changes], format="csr")[place])


Table: TypeAlias = DenseTable | SparseTable
