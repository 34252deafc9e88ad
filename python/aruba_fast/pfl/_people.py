"""`People`: tasks as a federated data set of pfl."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from pfl.data.dataset import AbstractDataset, Dataset
from pfl.data.federated_dataset import FederatedDatasetBase
from pfl.internal.ops.selector import get_default_framework_module

from .. import _check
from .._check import Int64Array
from ..run import check_on_host, check_tasks
from ..tasks import Tasks

_NAME = "People"


class People(FederatedDatasetBase):
    """Tasks as a federated data set of pfl: a task is a user.

    Cohorts are drawn without replacement from `seed` alone, so that the n-th is the same for every
    backend.

    Args:
        tasks: The tasks, in host memory. Their rows may be CSR, or weighted: a user then has
            `raw_data` (x, y, row_weights).
        seed: Of the cohorts.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: `seed` is negative.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.pfl import People
        >>> people = People(af.Tasks(np.ones((5, 3, 2)), np.ones((5, 3))))
        >>> [len(user) for user, _ in people.get_cohort(2)], len(people.cohort(4))
        ([3, 3], 4)

    Source: pfl, https://github.com/apple/pfl-research.
    """

    def __init__(self, tasks: Tasks, *, seed: int = 0) -> None:
        check_tasks(_NAME, tasks)
        check_on_host(_NAME, tasks)
        super().__init__()
        self._tasks = tasks
        self._rng = np.random.default_rng(_check.integer(_NAME, "seed", seed, 0))

    def cohort(self, cohort_size: int) -> Tasks | None:
        """Returns the next cohort as tasks, without a copy of their rows.

        Args:
            cohort_size: How many users; 0 for none at all.

        Returns:
            The tasks, or None.

        Raises:
            TypeError: `cohort_size` is not an integer.
            ValueError: There are not as many users.
        """
        chosen, _ = self._drawn(cohort_size)
        return self._tasks[chosen] if len(chosen) else None

    def get_cohort(self, cohort_size: int) -> Iterator[tuple[AbstractDataset, int]]:
        """Returns the next cohort as pfl has it: data sets (x, y), and seeds.

        Args:
            cohort_size: As `cohort`.

        Raises:
            TypeError: As `cohort`.
            ValueError: As `cohort`.
        """
        chosen, seeds = self._drawn(cohort_size)
        processes = get_default_framework_module().distributed
        mine = slice(processes.global_rank, None, processes.world_size)
        return (
            (self._user(index), seed)
            for index, seed in zip(chosen[mine].tolist(), seeds[mine].tolist(), strict=True)
        )

    def __next__(self) -> tuple[AbstractDataset, int]:
        return next(self.get_cohort(1))

    def _drawn(self, cohort_size: int) -> tuple[Int64Array, Int64Array]:
        size = _check.integer(_NAME, "cohort_size", cohort_size, 0)
        if size > len(self._tasks):
            raise ValueError(
                f"{_NAME}: `cohort_size` must be at most the number of users: got {size}, expected "
                f"<= {len(self._tasks)}"
            )
        chosen = self._rng.choice(len(self._tasks), size, replace=False, shuffle=False)
        chosen.sort()
        return chosen, self._rng.integers(2**32, size=size)

    def _user(self, index: int) -> Dataset:
        one, keys = self._tasks[index], self._tasks.keys
        key: Any = index if keys is None else keys[index]
        weights = () if one.row_weights is None else (one.row_weights,)
        return _User((one.x, one.y, *weights), user_id=str(key))


class _User(Dataset):
    """A data set that counts labels, for a sparse matrix has no length."""

    def __len__(self) -> int:
        return len(self.raw_data[1])

    def split(
        self,
        fraction: float | None = None,
        min_train_size: int | None = None,
        min_val_size: int | None = None,
    ) -> tuple[Dataset, Dataset]:
        """As pfl has it."""
        one, other = super().split(fraction, min_train_size, min_val_size)
        return _User(one.raw_data, one.user_id), _User(other.raw_data, other.user_id)
