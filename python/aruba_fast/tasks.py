"""Many tasks of different sizes in one table: `Tasks`, a frozen view of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _check, _narrow
from ._check import Int64Array
from ._frames import Framed
from ._ids import grouped
from ._keys import Names
from ._layout import checked_index, checked_offsets
from ._rows import Block, checked_rows, checked_weights


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Tasks(Framed):
    """Tasks of different sizes, as a frozen view of one table of rows.

    Task t consists of the rows `starts[t]:stops[t]` of `x` and `y`, in their order. Indexing,
    `rounds`, `split` and `shots` choose tasks, or rows of them, without copying any; what is chosen
    has `x` and `y` of its own rows and no others.

    Args:
        x: Features, [n_rows, n_features] float32 or float64, or dense [n_tasks, m, n_features]
            without `offsets`. Neither converted nor, when C-contiguous, copied. Non-finite values
            are allowed: their task is skipped and counted when it is run. Also bfloat16 (of
            ml_dtypes or PyTorch), float16, or uint8 with a `scale`: all results are then those of
            the same features in float32, to the bit. A CSR matrix or array of
            scipy.sparse, of any of these types, makes tasks whose cost is their entries: its
            `indptr` and `indices` are copied, its `data` is not where columns rise in every row.
        y: Labels, [n_rows] or dense [n_tasks, m], any real type; copied into the dtype of the
            tasks, which is that of `x` or float32.
        offsets: Integers [n_tasks + 1]; the rows of task t are `offsets[t]:offsets[t + 1]`, at
            least one each. None when `x` is dense.
        row_weights: How often the loss of each row counts, of the shape of `y`, finite and > 0;
            copied into float64. None for once. Rows in host memory only. The mean over the rows of
            a batch is over their number; those over the rows of a task, by `evaluate` and where
            tasks are weighted by their rows, are over their weights.
        scale: What uint8 features are multiplied by, > 0, such as 1 / 255; rounded to float32. None
            for all other features.

    Attributes:
        x: Features of these tasks, [n_rows, n_features], read-only, in the type they came in.
        y: Labels of these tasks, [n_rows] of the dtype of the tasks, read-only.
        scale: What uint8 features are multiplied by, a number of float32; None for all others.
        row_weights: Weights of these rows, float64 [n_rows], read-only; None where all are one.
        starts: Where the rows of every task begin in `x` and `y`, int64 [n_tasks], read-only.
        stops: Where they end, int64 [n_tasks], read-only.
        keys: The label of every task, of `from_groups` and `from_frame`, else None.
        feature_names: The names of the columns of `x`, of `from_frame`, else None.

    Raises:
        TypeError: `x` is of another type or byte order, or uint8 without a `scale`, or sparse but
            not CSR, `y` not real, `offsets` not integers, or `y` lives elsewhere than `x`.
        ValueError: Shapes do not fit, `offsets` do not rise strictly from 0 to n_rows, a weight or
            `scale` is not positive, `scale` is given for features that are not uint8, or the
            indices of a CSR matrix are none, or one in less than float32 has a column twice in a
            row.
        ImportError: `x` is a tensor of bfloat16, and ml_dtypes is not installed, or it lives on a
            CUDA device, and CuPy is older than 14.

    Aliasing: a contiguous `x` is referenced; writing to it later changes the tasks. The `x` and `y`
    of tasks that lie side by side in the table are views of it, those of others are copies, made
    when they are first asked for. A pickle holds the rows of these tasks, not the table.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks(np.eye(5, 3), np.arange(5), offsets=[0, 2, 5])
        >>> tasks
        Tasks(n_tasks=2, n_rows=5, n_features=3, dtype=float64)
        >>> [task.y for task in tasks]
        [array([0., 1.]), array([2., 3., 4.])]
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        offsets: ArrayLike | None = None,
        *,
        row_weights: ArrayLike | None = None,
        scale: float | None = None,
    ) -> None:
        axes = (
            "[n_tasks, m, n_features] without `offsets`; else give them or take Tasks.from_groups"
            if offsets is None
            else "[n_rows, n_features] beside `offsets`; else leave them out"
        )
        rows = checked_rows("Tasks", x, y, scale, axes)
        rows = rows._replace(row_weights=checked_weights("Tasks", row_weights, rows.y))
        if rows.csr is None:
            rows = rows._replace(x=rows.x.reshape(-1, rows.x.shape[-1]))
        if offsets is None:
            limits = np.arange(0, rows.y.size + 1, rows.y.shape[1], dtype=np.int64)
        else:
            limits = checked_offsets(offsets, rows.y.size)
        self._hold(rows, limits)

    def _hold(self, rows: Block, limits: Int64Array) -> None:
        # The engine trusts checked labels (softmax indexes memory with them): keep them private.
        with np.errstate(over="ignore", under="ignore"):
            dtype = np.float32 if _narrow.is_narrow(rows.x) else rows.x.dtype
            labels = rows.y.astype(dtype, order="C").reshape(-1)
        self._fill(rows._replace(y=labels), limits[:-1], limits[1:], checked=set())

    def _view(self, starts: Int64Array, stops: Int64Array) -> "Tasks":
        view = object.__new__(Tasks)
        view._fill(self._rows, starts, stops, checked=self._checked)
        if self._names is not None:
            view._name(self._names)
        return view

    @classmethod
    def from_groups(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        group: ArrayLike,
        *,
        row_weights: ArrayLike | None = None,
        scale: float | None = None,
    ) -> "Tasks":
        """Makes one task of all rows that share a value of `group`.

        Args:
            x: Features, [n_rows, n_features] of a type that `Tasks` takes, or a CSR matrix.
            y: Labels, [n_rows], any real type.
            group: [n_rows] numbers, strings, dates, or whatever can be hashed and sorted, in any
                order and from any library. Task t holds the rows of the t-th smallest value, in
                their order; rows are copied only if tasks are mixed.
            row_weights: As `Tasks`, [n_rows].
            scale: As `Tasks`.

        Returns:
            Tasks, one for each value of `group`, which is its label: `keys`.

        Raises:
            TypeError: As `Tasks`, or the values of `group` cannot be hashed or sorted.
            ValueError: As `Tasks`, or `group` is of another length, or a row has no id: None, nan,
                NaT, NA, a masked value, or the text "nan", "NaT" or "<NA>" that NumPy and pandas
                make of one.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> people = ["eve", "bob", "eve"]
            >>> tasks = af.Tasks.from_groups(np.ones((3, 2)), [1, 2, 3], people)
            >>> len(tasks), tasks.y
            (2, array([2., 1., 3.]))
        """
        return cls._of_groups(
            "Tasks.from_groups", x, y, group, row_weights=row_weights, scale=scale
        )

    @classmethod
    def _of_groups(
        cls,
        function: str,
        x: ArrayLike,
        y: ArrayLike,
        group: ArrayLike,
        names: tuple[Any, ...] | None = None,
        row_weights: ArrayLike | None = None,
        scale: float | None = None,
    ) -> "Tasks":
        rows = checked_rows(function, x, y, scale, "[n_rows, n_features]")
        features, labels, csr = rows.x, rows.y, rows.csr
        weights = checked_weights(function, row_weights, labels)
        order, offsets, keys = grouped(function, group, len(labels))
        if order is not None:
            if csr is not None:
                features, csr = csr.chosen(features, order)
            else:
                order = _arrays.moved(order, features)
                features = features[order]
            labels = labels[order]
            weights = None if weights is None else weights[order]
        tasks = object.__new__(cls)
        tasks._hold(Block(features, labels, weights, csr, rows.scale), offsets)
        tasks._name(Names(keys, offsets[:-1], names))
        return tasks

    def __len__(self) -> int:
        return len(self._starts)

    def __repr__(self) -> str:
        return (
            f"Tasks(n_tasks={len(self)}, n_rows={self.n_rows}, "
            f"n_features={self.n_features}, dtype={self.dtype}"
            f"{_narrow.shown(self._x.dtype, self._scale)}{_arrays.shown(self._x)})"
        )

    def __getitem__(self, index: int | str | slice | ArrayLike) -> "Tasks":
        """Selects tasks by number, slice, mask, numbers, or a label that is a string, as a view."""
        if isinstance(index, str) and self.keys is not None:
            index = self._numbered("Tasks", "index", index)
        chosen = checked_index(index, len(self))
        starts, stops = (np.ascontiguousarray(rows[chosen]) for rows in (self._starts, self._stops))
        if not len(starts):
            raise ValueError(
                "Tasks: `index` must select something: got 0 tasks, expected at least 1"
            )
        return self._view(starts, stops)

    def __iter__(self) -> Iterator["Tasks"]:
        return (self[index] for index in range(len(self)))

    def rounds(
        self, round_size: int, n_passes: int = 1, seed: int | None = None
    ) -> Iterator["Tasks"]:
        """Yields the tasks in rounds; a round never crosses from one pass into the next.

        Args:
            round_size: Tasks in a round; the last round of a pass may be smaller.
            n_passes: How often every task is visited.
            seed: None for the given order; else every pass is a fresh permutation drawn from
                `np.random.default_rng(seed)`.

        Returns:
            Iterator over views of at most `round_size` tasks.

        Raises:
            TypeError: An argument is not an integer.
            ValueError: `round_size` or `n_passes` is below 1, `seed` negative.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> tasks = af.Tasks(np.ones((5, 2, 1)), np.ones((5, 2)))
            >>> [len(part) for part in tasks.rounds(2, n_passes=2, seed=0)]
            [2, 2, 1, 2, 2, 1]
        """
        size = _check.integer("Tasks.rounds", "round_size", round_size, 1)
        orders = self._orders("Tasks.rounds", n_passes, seed)
        return (
            self[order[first : first + size]]
            for order in orders
            for first in range(0, len(self), size)
        )

    def _orders(self, function: str, n_passes: int, seed: int | None) -> Iterator[Int64Array]:
        """The order of the tasks in every pass; `meta_train` follows the same."""
        count = _check.integer(function, "n_passes", n_passes, 1)
        if seed is None:
            return (np.arange(len(self)) for _ in range(count))
        rng = np.random.default_rng(_check.integer(function, "seed", seed, 0))
        return (rng.permutation(len(self)) for _ in range(count))

    def split(self, fraction: float, seed: int = 0) -> tuple["Tasks", "Tasks"]:
        """Splits into training and test tasks at random, by whole tasks.

        Args:
            fraction: Share of the tasks that is for training, in (0, 1); rounded to whole tasks,
                at least one on either side.
            seed: Seed of `np.random.default_rng`.

        Returns:
            `(train, test)`, both in the order of this view.

        Raises:
            TypeError: `fraction` is not a number or `seed` not an integer.
            ValueError: `fraction` is outside (0, 1), or there is only one task.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> train, test = af.Tasks(np.ones((5, 2, 1)), np.ones((5, 2))).split(0.6)
            >>> len(train), len(test)
            (3, 2)
        """
        share = _check.fraction("Tasks.split", "fraction", fraction)
        number = _check.integer("Tasks.split", "seed", seed, 0)
        if len(self) < 2:
            raise ValueError("Tasks.split: `self` must be divisible: got 1 task, expected >= 2")
        n_train = min(max(round(share * len(self)), 1), len(self) - 1)
        train = np.zeros(len(self), dtype=bool)
        train[np.random.default_rng(number).permutation(len(self))[:n_train]] = True
        return self[train], self[~train]

    def shots(self, m: int) -> tuple["Tasks", "Tasks"]:
        """Splits every task into its first `m` rows, to adapt on, and its other rows, to test on.

        Args:
            m: Rows of every task to adapt on; every task must have more.

        Returns:
            `(first m rows of every task, remaining rows of every task)`, as views.

        Raises:
            TypeError: `m` is not an integer.
            ValueError: `m` is below 1, or a task has no row left.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> support, query = af.Tasks(np.ones((5, 7, 1)), np.ones((5, 7))).shots(3)
            >>> support.n_rows, query.n_rows
            (15, 20)
        """
        count = _check.integer("Tasks.shots", "m", m, 1)
        sizes = self.sizes
        if count >= sizes.min():
            task = int(sizes.argmin())
            raise ValueError(
                f"Tasks.shots: `m` must leave every task a row: got {count} with task {task} of "
                f"{sizes[task]} rows, expected m < {sizes[task]}, or the tasks that have more: "
                f"tasks[tasks.sizes > {count}]"
            )
        middle = self._starts + count
        return self._view(self._starts, middle), self._view(middle, self._stops)

    def to(self, device: str) -> "Tasks":
        """Returns the same tasks with a copy of their rows on another device.

        Args:
            device: As `MetaLearner.to`.

        Raises:
            TypeError: As `MetaLearner.to`.
            ValueError: As `MetaLearner.to`.
            ImportError: As `MetaLearner.to`.
            CudaError: As `MetaLearner.to`.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> af.Tasks(np.ones((5, 2, 1)), np.ones((5, 2))).to("cpu").n_rows
            10
        """
        own = self._own_rows
        for what, remedy, found in (
            ("CSR rows", "a table of dense rows, x.toarray()", own.csr),
            ("rows with weights", "tasks without `row_weights`", own.row_weights),
        ):
            if found is not None and device != "cpu":
                raise TypeError(
                    f"Tasks.to: `device` must be 'cpu' for tasks of {what}: got "
                    f"{_check.shown(device)}, expected {remedy}"
                )
        rows = _arrays.all_moved("Tasks.to", {"x": own.x, "y": own.y}, device)
        copy = object.__new__(Tasks)
        table = own._replace(**rows)
        copy._fill(table, self.starts, self.stops, checked=set(self._checked))
        copy._name(self._own_names())
        return copy
