"""Plays a table: every method on every split, kept in a file, so that nothing is done twice."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aruba_fast.datasets import Table

from .methods import Entrant
from .protocol import Method, NotConvergedError, Split, judge, split, thinned

# {"splits": {seed: {method: outcome}}, "seconds": {method: of its fits}}, and what the table is.
Results = dict[str, Any]
TOO_LONG, NOT_CONVERGED = "took too long", "did not converge"


def read(path: Path, kept: Results | None = None) -> Results:
    """The results of a file; where there is none, what was kept, if anything."""
    if path.exists():
        found: Results = json.loads(path.read_text(encoding="utf-8"))
        return found
    return kept or {"splits": {}, "seconds": {}}


def play(
    table: Table,
    yes_no: bool,
    entrants: dict[str, Entrant],
    seeds: Sequence[int],
    path: Path,
    report: Callable[[str], None],
    again: bool = False,
    kept: Results | None = None,
) -> Results:
    """Adds to the file of a table what it lacks; written after every split.

    A method that fails on one split is not tried on others, for it may have taken minutes.

    Args:
        table: The table.
        yes_no: Whether the answer is yes or no.
        entrants: The methods by name.
        seeds: Of the splits.
        path: The file.
        report: Told what is being done.
        again: Whether what the file has of these methods is to be replaced.
        kept: What to go on with where there is no file yet.

    Returns:
        The results of these splits, of all methods in the file.
    """
    results = read(path, kept)
    results |= {"yes_no": yes_no, "people": len(table.sizes), "rows": len(table.y)}
    results["features"] = table.x.shape[1]
    able = {name: e for name, e in entrants.items() if maker(e, yes_no) is not None}
    for seed in seeds:
        done = results["splits"].setdefault(str(seed), {})
        for name in able if again else ():
            done.pop(name, None)
        todo = [name for name in able if name not in done]
        if not todo:
            continue
        data = split(table, seed, yes_no)
        report(f"{path.stem}, split {seed}: {', '.join(todo)}")
        for name in todo:
            tried = [one.get(name, {}) for one in results["splits"].values()]
            failure = next((one for one in tried if "failed" in one), None)
            done[name] = failure or outcome(able[name], data, seed)
        results["seconds"] |= _seconds(results)
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(results, indent=1, allow_nan=False), encoding="utf-8")
        temporary.replace(path)
    return results | {"splits": {str(seed): results["splits"][str(seed)] for seed in seeds}}


def _seconds(results: Results) -> dict[str, dict[str, float]]:
    """The least and the median of every method's seconds to fit."""
    fits: dict[str, list[float]] = {}
    for played in results["splits"].values():
        for name, one in played.items():
            if "fit" in one:
                fits.setdefault(name, []).append(one["fit"])
    return {n: {"least": min(f), "median": statistics.median(f)} for n, f in fits.items()}


def maker(entrant: Entrant, yes_no: bool) -> Callable[[], Method] | None:
    """What makes the method for answers of this kind; None where it has none."""
    return entrant.answer if yes_no else entrant.number


def outcome(entrant: Entrant, data: Split, seed: int) -> dict[str, Any]:
    """One method on one split: its errors, null where they are infinite, and its seconds.

    Returns:
        "errors": of every number of shots, as `judge` has them; "fit" and "adapt": seconds of one
        processor, whoever else is on the machine; where it was given fewer people than there were,
        "people": how many. Or "failed": why.
    """
    result: dict[str, Any] = {}
    most = entrant.most_people
    if most is not None and len(data.train.offsets) - 1 > most:
        data = thinned(data, most, seed)
        result["people"] = most
    make = maker(entrant, data.train.yes_no)
    assert make is not None
    method = make()
    start = time.process_time()
    try:
        method.fit(data.train, seed)
    except (TimeoutError, NotConvergedError) as why:
        failed = TOO_LONG if isinstance(why, TimeoutError) else NOT_CONVERGED
        return result | {"failed": failed}
    result["fit"] = time.process_time() - start
    start = time.process_time()
    predicted = {
        shots: method.adapt_predict(seen, data.x, data.person) for shots, seen in data.seen.items()
    }
    result["adapt"] = time.process_time() - start
    result["errors"] = {
        shots: {k: v if math.isfinite(v) else None for k, v in judge(p, data).items()}
        for shots, p in predicted.items()
    }
    return result


def kept(results: dict[str, Results]) -> dict[str, Results]:
    """What the standings are made of, for a file that is kept: errors to six digits."""

    def brief(one: dict[str, Any]) -> dict[str, Any]:
        notes = {key: one[key] for key in ("people", "failed") if key in one}
        return notes | ({"errors": errors(one)} if "errors" in one else {})

    def errors(one: dict[str, Any]) -> dict[str, Any]:
        return {
            shots: {"people": None if e["people"] is None else float(f"{e['people']:.6g}")}
            for shots, e in one["errors"].items()
        }

    return {
        name: {key: r[key] for key in ("yes_no", "people", "rows", "features", "seconds")}
        | {
            "splits": {
                seed: {method: brief(one) for method, one in of.items()}
                for seed, of in r["splits"].items()
            }
        }
        for name, r in results.items()
    }
