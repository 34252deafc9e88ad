"""The comparison: means and standard errors over seeds of what the runs have measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from aruba_fast.theory.transfer import standard_error

from .methods import ARUBA, FEDAVG, LEARNED, PERSONAL_RATES, PLUS, RATES, Method
from .roles import KINDS

BEFORE = "before"
_NAMES = {LEARNED: "learned rates", PLUS: "ARUBA++"}
# The columns of the table: how a role was personalized.
WAYS = (BEFORE, *(f"{rate:g}" for rate in PERSONAL_RATES), LEARNED, PLUS)


class Estimate(NamedTuple):
    """A mean over seeds, in percent, and its standard error; nan of a single seed."""

    mean: float
    error: float

    @classmethod
    def of(cls, shares: Sequence[float]) -> "Estimate":
        """The estimate of shares between 0 and 1."""
        values = 100.0 * np.array(shares, np.float64)
        return cls(float(values.mean()), float(standard_error(values)))

    @property
    def signed(self) -> str:
        """As a difference."""
        return f"{'+' if self.mean >= 0.0 else ''}{self}".replace("-", "−")

    def __str__(self) -> str:
        error = "" if np.isnan(self.error) else f"±{self.error:.2f}".replace("±0.", "±.")
        return f"{self.mean:.2f}{error}"


@dataclass(frozen=True)
class Result:
    """What the jobs returned.

    Attributes:
        scale: Name of the settings.
        runs: What each job returned.
    """

    scale: str
    runs: list[dict[str, Any]]

    @property
    def methods(self) -> list[Method]:
        """The methods, in the order in which they were run."""
        names = dict.fromkeys(run["about"]["method"] for run in self.runs)
        return [Method.of(name) for name in names]

    @property
    def seeds(self) -> list[int]:
        """The seeds, rising."""
        return sorted({run["about"]["seed"] for run in self.runs})

    def of(self, method: str) -> list[dict[str, Any]]:
        """The runs of a method, by seed."""
        own = [run for run in self.runs if run["about"]["method"] == method]
        return sorted(own, key=lambda run: int(run["about"]["seed"]))

    def shares(self, method: str, kind: str, way: str) -> list[float]:
        """The accuracies of a method by seed; empty if it is not personalized in that way."""
        runs = self.of(method)
        if way == BEFORE:
            return [run["before"][kind] for run in runs]
        return [run["after"][kind][way] for run in runs if way in run["after"][kind]]

    def estimate(self, method: str, kind: str, way: str) -> Estimate | None:
        """The accuracy of a method, or None if it is not personalized in that way."""
        shares = self.shares(method, kind, way)
        return Estimate.of(shares) if shares else None

    def most_frequent(self, kind: str) -> Estimate:
        """The accuracy of always saying the most frequent character."""
        by_seed = {run["about"]["seed"]: run["most_frequent"][kind] for run in self.runs}
        return Estimate.of(list(by_seed.values()))

    def claims(self) -> dict[str, Estimate]:
        """Differences, seed by seed, that the experiment is about; those whose runs are there.

        The rival's best rate is chosen on the very roles that are tested, in its favour.
        """
        fixed = [f"{rate:g}" for rate in PERSONAL_RATES]
        of_grid = [method.name for method in self.methods if method.rate in RATES]
        rivals = {
            "FedAvg, best of the grid, at its best rate": (of_grid, fixed),
            "FedAvg at rate 1, at its best rate": ([f"{FEDAVG}-1"], fixed),
            "the same φ, at its best rate": ([ARUBA], fixed),
            "the same φ, not personalized": ([ARUBA], [BEFORE]),
        }
        found = {}
        for kind in reversed(KINDS):
            for way in (LEARNED, PLUS):
                ours = self._by_seed(ARUBA, kind, way)
                for rival, (names, ways) in rivals.items():
                    candidates = [
                        self._by_seed(name, kind, each) for name in names for each in ways
                    ]
                    candidates = [each for each in candidates if each.keys() & ours.keys()]
                    if candidates:
                        best = max(candidates, key=lambda each: float(np.mean([*each.values()])))
                        gains = [ours[seed] - best[seed] for seed in ours if seed in best]
                        found[f"{kind}, {_NAMES[way]} against {rival}"] = Estimate.of(gains)
        return found

    def _by_seed(self, method: str, kind: str, way: str) -> dict[int, float]:
        seeds = [run["about"]["seed"] for run in self.of(method)]
        return dict(zip(seeds, self.shares(method, kind, way), strict=False))

    def as_json(self) -> dict[str, Any]:
        """All numbers, as plain Python."""
        return {
            "scale": self.scale,
            "claims": {
                name: {"mean": gain.mean, "error": None if np.isnan(gain.error) else gain.error}
                for name, gain in self.claims().items()
            },
            "runs": self.runs,
        }
