"""Plays a table: every method on every split, kept in a file, so that nothing is done twice."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aruba_fast.datasets import Table

from .methods import Entrant
from .protocol import Split, judge, split, thinned

# {"splits": {seed: {method: outcome}}}, and what the table is.
Results = dict[str, Any]


def read(path: Path) -> Results:
    """The results of a file, without any where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"splits": {}}


def play(
    table: Table,
    yes_no: bool,
    entrants: dict[str, Entrant],
    seeds: Sequence[int],
    path: Path,
    report: Callable[[str], None],
) -> Results:
    """Adds to the file of a table what it lacks; written after every split.

    Args:
        table: The table.
        yes_no: Whether the answer is yes or no.
        entrants: The methods by name.
        seeds: Of the splits.
        path: The file.
        report: Told what is being done.
    """
    results = read(path)
    results |= {"yes_no": yes_no, "people": len(table.sizes), "rows": len(table.y)}
    results["features"] = table.x.shape[1]
    able = {n: e for n, e in entrants.items() if (e.yes_no if yes_no else e.regression)}
    for seed in seeds:
        done = results["splits"].setdefault(str(seed), {})
        todo = [name for name in able if name not in done]
        if not todo:
            continue
        data = split(table, seed, yes_no)
        for name in todo:
            report(f"{path.stem}, split {seed}: {name}")
            done[name] = outcome(able[name], data, seed)
        path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return results


def outcome(entrant: Entrant, data: Split, seed: int) -> dict[str, Any]:
    """One method on one split: its errors, null where they are infinite, and its seconds.

    Returns:
        "errors": of every number of shots, as `judge` has them; "fit" and "adapt": seconds; and
        where it was given fewer people than there were, "people": how many.
    """
    n_people = len(data.train.offsets) - 1
    result: dict[str, Any] = {}
    if entrant.most_people is not None and n_people > entrant.most_people:
        data = thinned(data, entrant.most_people, seed)
        result["people"] = entrant.most_people
    method = entrant.make()
    start = time.perf_counter()
    method.fit(data.train, seed)
    result["fit"] = time.perf_counter() - start
    start = time.perf_counter()
    predicted = {
        shots: method.adapt_predict(seen, data.x, data.person) for shots, seen in data.seen.items()
    }
    result["adapt"] = time.perf_counter() - start
    result["errors"] = {
        shots: {k: v if math.isfinite(v) else None for k, v in judge(p, data).items()}
        for shots, p in predicted.items()
    }
    return result


def errors(results: Results, method: str, shots: str, kind: str = "people") -> np.ndarray:
    """The errors of a method, nan on the splits that it did not play, infinite as they were."""
    values = []
    for played in results["splits"].values():
        of_method = played.get(method, {})
        value = of_method["errors"][shots][kind] if "errors" in of_method else math.nan
        values.append(math.inf if value is None else value)
    return np.array(values)


def seconds(results: Results, method: str) -> np.ndarray:
    """Seconds of the fits of a method, of the splits that it played."""
    played = (split.get(method, {}) for split in results["splits"].values())
    return np.array([one["fit"] for one in played if "fit" in one])
