"""The comparison: means and standard errors over seeds of what the runs have measured."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aruba_fast._check import Float64Array
from aruba_fast.theory.transfer import standard_error

from ..files import own_file
from .methods import ADAM, ARUBA, BEFORE, ISOTROPIC, LEARNED, PLUS, Method
from .study import Study

# From here on a mean tells no more than its order: tests have all but diverged.
_FAR = 1e4
_NAMES = {LEARNED: "learned rates", PLUS: "ARUBA++"}


class Estimate(NamedTuple):
    """A mean over seeds, and its standard error; nan of a single seed, or where tests diverged."""

    mean: float
    error: float
    digits: int = 2

    @classmethod
    def of(cls, values: Float64Array, digits: int = 2) -> "Estimate":
        """The estimate of a value for each seed, which are counted in the unit that is told."""
        return cls(float(np.mean(values)), float(standard_error(values)), digits)

    @property
    def signed(self) -> str:
        """As a difference."""
        return f"{'+' if self.mean >= 0.0 else ''}{self}".replace("-", "−")

    def __str__(self) -> str:
        if np.isnan(self.mean):
            return "–"
        if abs(self.mean) >= _FAR:
            return f"{self.mean:.0e}"
        error = "" if np.isnan(self.error) else f"±{self.error:.{self.digits}f}"
        return f"{self.mean:.{self.digits}f}{error}".replace("±0.", "±.")


@dataclass(frozen=True)
class Result:
    """What the jobs returned.

    Attributes:
        study: How it is told.
        scale: Name of the settings.
        runs: What each job returned.
    """

    study: Study
    scale: str
    runs: list[dict[str, Any]]

    @classmethod
    def read(cls, study: Study, path: Path) -> "Result":
        """Reads what `as_json` gave.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not such a file.
        """
        with own_file(study.name, "`show` must be a file", path):
            saved = json.loads(path.read_text(encoding="utf-8"))
            result = cls(study, saved["scale"], saved["runs"])
            if saved != result.as_json():
                raise ValueError("its differences are not those of its runs")
        return result

    @property
    def methods(self) -> list[Method]:
        """The methods, in the order in which they were run."""
        names = dict.fromkeys(run["about"]["method"] for run in self.runs)
        return [self.study.method.of(name) for name in names]

    @property
    def seeds(self) -> list[int]:
        """The seeds, rising."""
        return sorted({run["about"]["seed"] for run in self.runs})

    def of(self, method: str) -> list[dict[str, Any]]:
        """The runs of a method, by seed."""
        own = [run for run in self.runs if run["about"]["method"] == method]
        return sorted(own, key=lambda run: int(run["about"]["seed"]))

    def values(self, method: str, kind: str, way: str) -> dict[int, float]:
        """The scores of a method by seed; empty if it is not tested in that way."""
        found = {}
        for run in self.of(method):
            scores = {BEFORE: run[BEFORE][kind], **run["after"][kind]}
            if way in scores:
                found[run["about"]["seed"]] = np.nan if scores[way] is None else scores[way]
        return found

    def estimate(self, method: str, kind: str, way: str) -> Estimate | None:
        """The mean of a method, or None if it is not tested in that way."""
        values = self.values(method, kind, way)
        return self._estimate([*values.values()]) if values else None

    def best_rate(self, method: str, kind: str) -> str:
        """The best of the fixed rates of the tests."""
        ways = self.study.method.fixed_ways()
        return max(ways, key=lambda way: self._goodness(self.values(method, kind, way)))

    def trivial(self, kind: str) -> Estimate:
        """The score of no learning at all."""
        assert self.study.trivial is not None
        entry = self.study.trivial[0]
        by_seed = {run["about"]["seed"]: run[entry][kind] for run in self.runs}
        return self._estimate([*by_seed.values()])

    def claims(self) -> dict[str, Estimate]:
        """Differences, seed by seed, that the experiment is about; those whose runs are there.

        The rival's best rate is chosen on the very tests, in its favour.
        """
        of, ways = self.study.method, self.study.method.fixed_ways()
        plain = [each for each in self.methods if each.kind == of.fixed[0]]
        of_grid = [each.name for each in plain if each.rate in of.rates]
        adams = [each.name for each in self.methods if each.kind == ADAM]
        found = {}
        for kind in self.study.titles:
            for way in (LEARNED, PLUS):
                rivals = {
                    f"{of.scheme}, best of the grid, at its best rate": (of_grid, ways),
                    f"{of.scheme} at rate {of.usual:g}, at its best rate": (
                        [of(of.fixed[0], of.usual).name],
                        ways,
                    ),
                    f"{of.scheme} with Adam, best of its grid, at its best": (adams, [ADAM, *ways]),
                    "isotropic ARUBA, likewise": ([ISOTROPIC], [way]),
                    "the same φ, at its best rate": ([ARUBA], ways),
                    f"the same φ, not {self.study.adapted}": ([ARUBA], [BEFORE]),
                }
                ours = self.values(ARUBA, kind, way)
                for rival, (names, tests) in rivals.items():
                    candidates = [self.values(name, kind, each) for name in names for each in tests]
                    candidates = [each for each in candidates if each.keys() & ours.keys()]
                    if candidates:
                        best = max(candidates, key=self._goodness)
                        gains = [ours[seed] - best[seed] for seed in ours if seed in best]
                        found[f"{kind}, {_NAMES[way]} against {rival}"] = self._estimate(gains)
        return found

    def as_json(self) -> dict[str, Any]:
        """All numbers, as plain Python."""
        return {
            "scale": self.scale,
            "claims": {
                name: {
                    "mean": None if np.isnan(gain.mean) else gain.mean,
                    "error": None if np.isnan(gain.error) else gain.error,
                }
                for name, gain in self.claims().items()
            },
            "runs": self.runs,
        }

    def _estimate(self, values: Sequence[float]) -> Estimate:
        own = self.study.measure
        return Estimate.of(own.factor * np.array(values, np.float64), own.digits)

    def _goodness(self, values: dict[int, float]) -> float:
        """The mean, the more the better; what is not there, or has diverged, is worst."""
        mean = self.study.measure.sign * float(np.mean([*values.values()])) if values else np.nan
        return -np.inf if np.isnan(mean) else mean
